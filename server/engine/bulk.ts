// One verb for many intents, each in a decision of its own: what one of them refuses, the others do not mind.

import { pause, retry, unpause } from "../domain/decide/operator.ts";
import { cancel } from "../domain/decide/resolve.ts";
import type { Draft } from "../domain/draft.ts";
import type { Actor } from "../domain/intent.ts";
import { Refusal } from "../domain/refusal.ts";
import { type IntentFilter, type Matched, matchingIntents } from "../store/queries/intents.ts";
import { change, type Engine } from "./context.ts";
import { followSessions, sessionsOf } from "./sessions.ts";

export const BULK_ACTIONS = ["cancel", "pause", "unpause", "retry"] as const;
export type BulkAction = (typeof BULK_ACTIONS)[number];

/** Decided together: more would only wait in the commit queue. */
const AT_ONCE = 200;
const UNDONE = 50;

export interface BulkAnswer {
  readonly matched: readonly Matched[];
  /** Those that it was done to. */
  readonly applied: readonly string[];
  readonly refused: readonly { readonly intentId: string; readonly code: string }[];
  /** Whether more match. */
  readonly more: boolean;
}

export interface BulkInput {
  readonly action: BulkAction;
  readonly filter: IntentFilter;
  readonly reason: string | null;
  readonly limit: number;
  /** Only looks. */
  readonly dryRun: boolean;
}

export async function actOnMany(engine: Engine, actor: Actor, input: BulkInput): Promise<BulkAnswer> {
  const found = await matchingIntents(engine.store, input.filter, input.limit + 1);
  const matched = found.slice(0, input.limit);
  const applied: string[] = [];
  const refused: { intentId: string; code: string }[] = [];
  if (!input.dryRun) {
    for (let from = 0; from < matched.length; from += AT_ONCE) {
      const some = matched.slice(from, from + AT_ONCE);
      await Promise.all(
        some.map(async ({ id }) => {
          const code = await decideOne(engine, actor, id, input);
          if (code === null) applied.push(id);
          else refused.push({ intentId: id, code });
        }),
      );
    }
  }
  return { matched, applied, refused, more: found.length > input.limit };
}

/** Null when it was done; else why not. */
async function decideOne(
  engine: Engine,
  actor: Actor,
  intentId: string,
  { action, reason }: BulkInput,
): Promise<string | null> {
  const sessions = action === "retry" ? await sessionsOf(engine, intentId) : [];
  try {
    const happened = await engine.commits.submit<boolean>({
      name: `bulk_${action}`,
      intents: [intentId],
      sessions,
      steps: [{ intentId, keys: [], undone: action === "retry" ? "all" : UNDONE }],
      decide: (work) =>
        change(work, intentId, actor, (draft) => {
          act(draft, action, reason);
          followSessions(work, draft, sessions);
          return draft.events.length > 0;
        }),
    });
    return happened ? null : "unchanged";
  } catch (error) {
    // What concerns the server and not the intent is for whoever asked.
    if (!(error instanceof Refusal) || error.code === "unavailable") throw error;
    return error.code;
  }
}

function act(draft: Draft, action: BulkAction, reason: string | null): void {
  switch (action) {
    case "cancel":
      cancel(draft, reason);
      break;
    case "pause":
      pause(draft, reason);
      break;
    case "unpause":
      unpause(draft);
      break;
    case "retry":
      retry(draft, { deadlineAt: null });
      break;
  }
}

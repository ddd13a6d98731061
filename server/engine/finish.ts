// Ending an intent and reopening it: resolve, cancel, and the operator's verbs.

import { requireSenderRight } from "../domain/decide/authority.ts";
import { decideStep, type StepAnswer } from "../domain/decide/doubt.ts";
import { pause, retry, unpause } from "../domain/decide/operator.ts";
import { cancel, type ResolveInput, type ResolveOutcome, resolve } from "../domain/decide/resolve.ts";
import type { Draft } from "../domain/draft.ts";
import type { IntentEvent } from "../domain/event.ts";
import type { Actor, Intent } from "../domain/intent.ts";
import { RawJson } from "../domain/raw-json.ts";
import type { IdempotencyRef } from "../store/workspace.ts";
import { bytesOf, change, type Engine, fenced } from "./context.ts";
import { findReplay } from "./idempotency.ts";

/** How many undone steps an ending event can list. */
const UNDONE = 50;

export interface ResolveAnswer {
  readonly outcome: ResolveOutcome;
  readonly intent: Intent;
  /** The event this call wrote; null for a replay. */
  readonly event: IntentEvent | null;
}

export function resolveIntent(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: Omit<ResolveInput, "random" | "holderIsLive">,
): Promise<ResolveAnswer> {
  return engine.commits.submit<ResolveAnswer>({
    name: "resolve",
    intents: [intentId],
    bytes: bytesOf(input.result, input.error),
    steps: [{ intentId, keys: [], undone: UNDONE }],
    decide: (work) =>
      fenced(
        work,
        intentId,
        actor,
        { attempt: input.attempt, operation: `resolve ${input.status}` },
        (draft) => {
          // Agents that are handed work through a window know no attempts.
          const holderIsLive = draft.intent.consumerId !== null && !draft.intent.windowed;
          const outcome = resolve(draft, { ...input, random: Math.random(), holderIsLive });
          return { outcome, intent: draft.intent, event: draft.events.at(-1) ?? null };
        },
      ),
  });
}

export interface Operation {
  readonly engine: Engine;
  readonly actor: Actor;
  readonly intentId: string;
  /** With one, a repeat changes nothing and is answered as the first (I11). */
  readonly idempotency: IdempotencyRef | null;
}

export interface Operated {
  readonly intent: Intent;
  readonly replayed: boolean;
}

const DONE = RawJson.of({ ok: true });

function operate(
  { engine, actor, intentId, idempotency }: Operation,
  name: string,
  steps: { readonly keys?: readonly string[]; readonly undone: number | "all" },
  decide: (draft: Draft) => unknown,
): Promise<Operated> {
  return engine.commits.submit<Operated>({
    name,
    intents: [intentId],
    steps: [{ intentId, keys: steps.keys ?? [], undone: steps.undone }],
    ...(idempotency === null ? {} : { idempotency }),
    decide(work) {
      const known = work.seen(intentId, actor);
      if (known !== undefined && findReplay(work, idempotency) !== undefined)
        return { intent: known, replayed: true };
      const intent = change(work, intentId, actor, (draft) => {
        decide(draft);
        return draft.intent;
      });
      if (idempotency !== null) work.stageRecord({ ...idempotency, intentId, response: DONE });
      return { intent, replayed: false };
    },
  });
}

export const cancelIntent = (operation: Operation, reason: string | null): Promise<Operated> =>
  operate(operation, "cancel", { undone: UNDONE }, (draft) => {
    requireSenderRight(draft);
    return cancel(draft, reason);
  });

export const pauseIntent = (operation: Operation, reason: string | null): Promise<Operated> =>
  operate(operation, "pause", { undone: 1 }, (draft) => pause(draft, reason));

export const unpauseIntent = (operation: Operation): Promise<Operated> =>
  operate(operation, "unpause", { undone: 1 }, (draft) => unpause(draft));

export const retryIntent = (
  operation: Operation,
  deadline: { readonly at: number | null; readonly ttlMs: number | null },
): Promise<Operated> =>
  operate(operation, "retry", { undone: "all" }, (draft) =>
    retry(draft, { deadlineAt: deadline.ttlMs === null ? deadline.at : draft.now + deadline.ttlMs }),
  );

export const decideIntentStep = (operation: Operation, key: string, answer: StepAnswer): Promise<Operated> =>
  operate(operation, "decide_step", { keys: [key], undone: UNDONE }, (draft) =>
    decideStep(draft, key, answer),
  );

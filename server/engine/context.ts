// What every use case works with, and the two ways a use case opens an intent.

import { requireHolderRight } from "../domain/decide/authority.ts";
import { auditStaleWrite } from "../domain/decide/fence.ts";
import type { Draft } from "../domain/draft.ts";
import type { Actor } from "../domain/intent.ts";
import { encodeJson } from "../domain/raw-json.ts";
import { Refusal } from "../domain/refusal.ts";
import type { Store } from "../store/connection.ts";
import type { GroupCommit } from "../store/group-commit.ts";
import type { SlotRef } from "../store/slots.ts";
import type { Change, Workspace } from "../store/workspace.ts";

export interface EngineSettings {
  readonly heartbeatIntervalMs: number;
  readonly leaseTtlMs: number;
  readonly reconnectGraceMs: number;
  readonly restartGraceMs: number;
  readonly pollIntervalMs: number;
  readonly maxTotalLosses: number;
  /** How long a delivery through a window is its agent's without a sign of life. */
  readonly windowedLeaseMs: number;
  /** How long a newcomer waits before it takes over what went out before. */
  readonly windowedHoldOffMs: number;
  /** How long a listener whose window ended without work is expected. */
  readonly windowedReturnMs: number;
  readonly stepsMax: number;
  readonly resultsMaxBytes: number;
  readonly frameMaxBytes: number;
}

export interface Engine {
  readonly store: Store;
  readonly commits: GroupCommit;
  readonly settings: EngineSettings;
  readonly replicaId: string;
  /** Consumers with an open stream here that seem to have room, for up to `count` new intents of an address. */
  readonly freeSlots: (address: string, count: number) => readonly SlotRef[];
  /** Told of every commit, for waking streams and the dispatcher. */
  readonly committed: (changes: Change[]) => void;
}

/** About how much these take: JSON as it was sent, texts, and whatever else will be encoded. */
export function bytesOf(...parts: readonly unknown[]): number {
  let bytes = 0;
  for (const part of parts)
    if (part !== null && part !== undefined)
      bytes += (typeof part === "string" ? part : encodeJson(part)).length;
  return bytes;
}

/** Decides over an intent; nothing is staged when nothing changed. */
export function change<T>(work: Workspace, intentId: string, actor: Actor, decide: (draft: Draft) => T): T {
  const draft = work.open(intentId, actor);
  const value = decide(draft);
  if (draft.events.length > 0 || draft.changedSteps.size > 0) work.stage(draft);
  return value;
}

/** The same for what only a holder or an operator does, with the attempt it carries: a stale one changes nothing and leaves a trace in the log (I4). */
export function fenced<T>(
  work: Workspace,
  intentId: string,
  actor: Actor,
  write: { readonly attempt: number | null; readonly operation: string },
  decide: (draft: Draft) => T,
): T | Refusal {
  try {
    return change(work, intentId, actor, (draft) => {
      requireHolderRight(actor, draft.intent);
      return decide(draft);
    });
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== "stale_attempt" || write.attempt === null) throw error;
    // Whatever the refused write had staged goes with it.
    work.discard();
    const audit = work.open(intentId, actor);
    if (!auditStaleWrite(audit, write.attempt, write.operation)) throw error;
    work.stage(audit);
    return error;
  }
}

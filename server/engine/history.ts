// Bookmarks in an intent's log, and going back to an entry of it (S6). Rare, and reading much: transactions of their own.

import { requireHolderRight } from "../domain/decide/authority.ts";
import { requireOpenAttempt } from "../domain/decide/fence.ts";
import { type Restored, restore } from "../domain/decide/restore.ts";
import { type Draft, emit } from "../domain/draft.ts";
import { foldLog } from "../domain/fold.ts";
import type { Actor, Intent } from "../domain/intent.ts";
import { RawJson } from "../domain/raw-json.ts";
import { Refusal } from "../domain/refusal.ts";
import { intentScope, type StateWrite } from "../domain/state.ts";
import {
  cancelLater,
  countCheckpoints,
  endOfCommit,
  lockStateKeys,
  rewriteTaken,
  saveCheckpoint,
} from "../store/history.ts";
import {
  type Checkpoint,
  childrenOfSteps,
  findCheckpoint,
  readEntries,
  readPastState,
} from "../store/queries/history.ts";
import { type Transaction, transact } from "../store/transaction.ts";
import type { IdempotencyRef } from "../store/workspace.ts";
import type { Engine } from "./context.ts";
import { findReplay } from "./idempotency.ts";
import { followSessions, sessionsOf } from "./sessions.ts";
import { stageState } from "./state.ts";

export interface CheckpointInput {
  readonly name: string;
  /** The holder's; null for an operator, who may move a name. */
  readonly attempt: number | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly max: number;
}

export interface CheckpointAnswer {
  readonly checkpoint: Checkpoint;
  readonly replayed: boolean;
}

/** Names the log as it is now. A holder that repeats itself after a crash gets its first name again. */
export async function nameCheckpoint(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: CheckpointInput,
): Promise<CheckpointAnswer> {
  const { value, changes } = await transact(engine.store, async (tx): Promise<CheckpointAnswer> => {
    const work = await tx.load({ intents: [intentId], steps: [], records: [] });
    const draft = work.open(intentId, actor);
    const { intent } = draft;
    requireHolderRight(actor, intent);
    if (input.attempt !== null) requireOpenAttempt(draft, input.attempt);
    else if (!actor.operator)
      throw new Refusal(
        "attempt_required",
        "a checkpoint is named by the holder: send the attempt you were given",
      );
    const known = await findCheckpoint(tx.client, intentId, input.name);
    if (known !== undefined && input.attempt !== null && known.generation === intent.generation)
      return { checkpoint: known, replayed: true };
    if (known === undefined) await requireRoom(tx, intentId, input.max);
    const checkpoint = bookmark(draft, actor, input);
    work.stage(draft);
    work.settle();
    tx.write(work);
    saveCheckpoint(tx, checkpoint);
    return { checkpoint, replayed: false };
  });
  engine.committed(changes);
  return value;
}

function bookmark(draft: Draft, actor: Actor, { name, metadata }: CheckpointInput): Checkpoint {
  const { intent } = draft;
  emit(draft, "intent.checkpoint_named", { name, ...(Object.keys(metadata).length > 0 ? { metadata } : {}) });
  return {
    intent_id: intent.id,
    name,
    seq: intent.seq,
    generation: intent.generation,
    steps_done: intent.stepsDone,
    actor: actor.name,
    metadata: JSON.stringify(metadata),
    created_at: draft.now,
  };
}

async function requireRoom(tx: Transaction, intentId: string, max: number): Promise<void> {
  if ((await countCheckpoints(tx, intentId)) < max) return;
  throw new Refusal(
    "too_many_checkpoints",
    `an intent may have at most ${max} checkpoints; delete one first`,
    {
      limit: max,
    },
  );
}

export interface RestoreAnswer {
  readonly intent: Intent;
  readonly seq: number;
  readonly name: string | null;
  readonly restored: Restored;
  readonly replayed: boolean;
}

/** Takes an intent back to an entry of its log: steps and its own state are as they were then; nothing of the log is lost. */
export async function restoreIntent(
  engine: Engine,
  actor: Actor,
  intentId: string,
  to: string | number,
  idempotency: IdempotencyRef | null,
): Promise<RestoreAnswer> {
  const sessions = await sessionsOf(engine, intentId);
  const { value, changes } = await transact(engine.store, async (tx): Promise<RestoreAnswer> => {
    // What state there is decides which of its keys are locked, so the intent's lock comes first.
    const keys = await lockStateKeys(tx, intentId);
    const work = await tx.load({
      intents: [intentId],
      steps: [{ intentId, keys: [], undone: "all" }],
      records: idempotency === null ? [] : [idempotency],
      heads: keys,
      sessions,
    });
    const earlier = findReplay(work, idempotency);
    const draft = work.open(intentId, actor);
    if (earlier !== undefined)
      return { ...(earlier.response.parse() as RestoreAnswer), intent: draft.intent, replayed: true };
    const { seq, name } = await targetOf(tx, draft, to);
    const entries = await readEntries(tx.client, intentId, draft.intent.seq);
    const restored = restore(draft, {
      to: seq,
      name,
      past: foldLog(entries, seq),
      present: foldLog(entries),
    });
    const writes = await stateThen(
      tx,
      draft,
      seq,
      keys.map(({ key }) => key),
    );
    const present = writes.filter(
      ({ scope, key, value }) => value !== null || isThere(work.head(scope.namespace, scope.text, key)),
    );
    stageState(work, draft, present);
    followSessions(work, draft, sessions);
    work.stage(draft);
    const answer = { seq, name, restored };
    if (idempotency !== null) work.stageRecord({ ...idempotency, intentId, response: RawJson.of(answer) });
    work.settle();
    tx.write(work);
    await settleWaits(tx, intentId, restored);
    return { ...answer, intent: draft.intent, replayed: false };
  });
  engine.committed(changes);
  return value;
}

const isThere = (head: { deleted: boolean } | undefined): boolean => head !== undefined && !head.deleted;

async function targetOf(
  tx: Transaction,
  { intent }: Draft,
  to: string | number,
): Promise<{ seq: number; name: string | null }> {
  if (typeof to === "number") {
    if (to <= intent.seq) return { seq: await endOfCommit(tx, intent.id, to), name: null };
    const detail = `the log ends at ${intent.seq}; there is no entry ${to}`;
    throw new Refusal("validation_failed", `/to: ${detail}`, {
      seq: intent.seq,
      errors: [{ pointer: "/to", detail }],
    });
  }
  const checkpoint = await findCheckpoint(tx.client, intent.id, to);
  if (checkpoint !== undefined) return { seq: await endOfCommit(tx, intent.id, checkpoint.seq), name: to };
  throw new Refusal("checkpoint_not_found", `there is no checkpoint ${JSON.stringify(to)}`, { name: to });
}

/** Writes that make the intent's own state what it was: keys that came later are deleted. */
async function stateThen(
  tx: Transaction,
  { intent }: Draft,
  seq: number,
  keys: readonly string[],
): Promise<StateWrite[]> {
  const scope = intentScope(intent.id, intent.namespace);
  const then = await readPastState(tx.client, intent.id, scope.text, seq);
  const now = new Map(
    (await readPastState(tx.client, intent.id, scope.text, intent.seq)).map((one) => [one.key, one.value]),
  );
  const past = new Map(then.map((one) => [one.key, one.value]));
  return keys.flatMap((key) => {
    const value = past.get(key) ?? null;
    // What is as it was needs no new version.
    return (now.get(key) ?? null)?.text === value?.text ? [] : [{ scope, key, value, ifVersion: null }];
  });
}

/** Signals that superseded waits took are unread again, those of waits that stand are taken; children of superseded steps end. */
async function settleWaits(
  tx: Transaction,
  intentId: string,
  { superseded, signals }: Restored,
): Promise<void> {
  rewriteTaken(tx, intentId, signals);
  cancelLater(tx, intentId, await childrenOfSteps(tx.client, intentId, superseded));
}

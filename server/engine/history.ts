// Bookmarks in an intent's log, and going back to an entry of it (S6). Rare, and reading much: transactions of their own.

import { requireOpenAttempt } from "../domain/decide/fence.ts";
import { type Restored, restore } from "../domain/decide/restore.ts";
import { type Draft, emit } from "../domain/draft.ts";
import { foldLog } from "../domain/fold.ts";
import type { Actor, Intent } from "../domain/intent.ts";
import { RawJson } from "../domain/raw-json.ts";
import { Refusal } from "../domain/refusal.ts";
import { intentScope, type StateWrite } from "../domain/state.ts";
import type { HeadRef } from "../store/load.ts";
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
    void tx.query(SAVE, Object.values({ ...checkpoint, created_at: new Date(checkpoint.created_at) }));
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

const SAVE = {
  name: "checkpoint_save",
  text: `insert into checkpoints (intent_id, name, seq, generation, steps_done, actor, metadata, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict (intent_id, name) do update set seq = excluded.seq, generation = excluded.generation,
      steps_done = excluded.steps_done, actor = excluded.actor, metadata = excluded.metadata, created_at = excluded.created_at`,
};

async function requireRoom(tx: Transaction, intentId: string, max: number): Promise<void> {
  const [row] = await tx.query<{ n: number }>(
    { name: "checkpoints_count", text: "select count(*)::int as n from checkpoints where intent_id = $1" },
    [intentId],
  );
  if ((row?.n ?? 0) >= max)
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
  const { value, changes } = await transact(engine.store, async (tx): Promise<RestoreAnswer> => {
    // What state there is decides which of its keys are locked, so the intent's lock comes first.
    const keys = await stateKeys(tx, intentId);
    const work = await tx.load({
      intents: [intentId],
      steps: [{ intentId, keys: [], undone: "all" }],
      records: idempotency === null ? [] : [idempotency],
      heads: keys,
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

/** The keys of an intent's own state. Everybody who writes to it holds the intent's lock: that comes first, and the keys are read after it. */
function stateKeys(tx: Transaction, intentId: string): Promise<HeadRef[]> {
  void tx.query({ name: "restore_lock", text: "select 1 from intents where id = $1 for update" }, [intentId]);
  return tx.query<HeadRef>(
    {
      name: "restore_state_keys",
      text: `select h.namespace, h.scope, h.key from intents i
        join state_heads h on h.namespace = i.namespace and h.scope = 'intent:' || i.id where i.id = $1 order by 1, 2, 3`,
    },
    [intentId],
  );
}

async function targetOf(
  tx: Transaction,
  { intent }: Draft,
  to: string | number,
): Promise<{ seq: number; name: string | null }> {
  if (typeof to === "number") {
    if (to <= intent.seq) return { seq: await endOfCommit(tx, intent.id, to), name: null };
    throw new Refusal("validation_failed", `to: the log ends at ${intent.seq}; there is no entry ${to}`, {
      seq: intent.seq,
    });
  }
  const checkpoint = await findCheckpoint(tx.client, intent.id, to);
  if (checkpoint !== undefined) return { seq: await endOfCommit(tx, intent.id, checkpoint.seq), name: to };
  throw new Refusal("checkpoint_not_found", `there is no checkpoint ${JSON.stringify(to)}`, { name: to });
}

/** No crash falls between the entries of one commit: whoever names one of them means them all. */
async function endOfCommit(tx: Transaction, intentId: string, seq: number): Promise<number> {
  const [row] = await tx.query<{ last: number | null }>(
    {
      name: "restore_commit_end",
      text: `select max(e.seq) as last from events named join events e on e.intent_id = named.intent_id and e.xmin = named.xmin
        where named.intent_id = $1 and named.seq = $2`,
    },
    [intentId, seq],
  );
  return row?.last ?? seq;
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
  void tx.query(
    {
      name: "restore_signals",
      text: `update signals s set taken_by = t.taken_by
        from signals o left join unnest($2::int4[], $3::text[]) as t(no, taken_by) on t.no = o.no
        where s.intent_id = $1 and o.intent_id = $1 and o.no = s.no and s.taken_by is distinct from t.taken_by`,
    },
    [intentId, signals.map((one) => one.no), signals.map((one) => one.takenBy)],
  );
  const children = await childrenOfSteps(tx.client, intentId, superseded);
  if (children.length === 0) return;
  void tx.query(
    {
      name: "restore_children",
      text: "insert into outbox (kind, parent_id, child_id) select 'cancel', $1, c from unnest($2::uuid[]) as c",
    },
    [intentId, children],
  );
}

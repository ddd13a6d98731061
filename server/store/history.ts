// What naming and restoring write and lock inside their transaction.

import type { CheckpointsTable } from "./database.ts";
import type { HeadRef } from "./load.ts";
import type { Transaction } from "./transaction.ts";

const SAVE = {
  name: "checkpoint_save",
  text: `insert into checkpoints (intent_id, name, seq, generation, steps_done, actor, metadata, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, to_timestamp($8::float8 / 1000))
    on conflict (intent_id, name) do update set seq = excluded.seq, generation = excluded.generation,
      steps_done = excluded.steps_done, actor = excluded.actor, metadata = excluded.metadata, created_at = excluded.created_at`,
};

export function saveCheckpoint(tx: Transaction, checkpoint: CheckpointsTable): void {
  const { intent_id, name, seq, generation, steps_done, actor, metadata, created_at } = checkpoint;
  void tx.query(SAVE, [intent_id, name, seq, generation, steps_done, actor, metadata, created_at]);
}

const COUNT = {
  name: "checkpoints_count",
  text: "select count(*)::int as n from checkpoints where intent_id = $1",
};

export async function countCheckpoints(tx: Transaction, intentId: string): Promise<number> {
  return (await tx.query<{ n: number }>(COUNT, [intentId]))[0]?.n ?? 0;
}

const LOCK = { name: "restore_lock", text: "select 1 from intents where id = $1 for update" };
const KEYS = {
  name: "restore_state_keys",
  text: `select h.namespace, h.scope, h.key from intents i
    join state_heads h on h.namespace = i.namespace and h.scope = 'intent:' || i.id where i.id = $1 order by 1, 2, 3`,
};

/**
 * The keys of an intent's own state. Everybody who writes to it holds the intent's lock: that comes first, and the keys are read by a
 * later statement, which sees what the lock waited for.
 */
export function lockStateKeys(tx: Transaction, intentId: string): Promise<HeadRef[]> {
  void tx.query(LOCK, [intentId]);
  return tx.query<HeadRef>(KEYS, [intentId]);
}

// One commit has one instant. That alone could be another's of the same millisecond; the transaction's id alone is shared by all
// that a restored back-up brought in.
const COMMIT_END = {
  name: "restore_commit_end",
  text: `select max(e.seq) as last from events named
    join events e on e.intent_id = named.intent_id and e.at = named.at and e.xmin = named.xmin
    where named.intent_id = $1 and named.seq = $2`,
};

/** No crash falls between the entries of one commit: whoever names one of them means them all. */
export async function endOfCommit(tx: Transaction, intentId: string, seq: number): Promise<number> {
  const [row] = await tx.query<{ last: number | null }>(COMMIT_END, [intentId, seq]);
  return row?.last ?? seq;
}

const TAKEN = {
  name: "restore_signals",
  text: `update signals s set taken_by = t.taken_by
    from signals o left join unnest($2::int4[], $3::text[]) as t(no, taken_by) on t.no = o.no
    where s.intent_id = $1 and o.intent_id = $1 and o.no = s.no and s.taken_by is distinct from t.taken_by`,
};

/** These signals are taken, all others are unread. */
export function rewriteTaken(
  tx: Transaction,
  intentId: string,
  taken: readonly { readonly no: number; readonly takenBy: string }[],
): void {
  void tx.query(TAKEN, [intentId, taken.map((one) => one.no), taken.map((one) => one.takenBy)]);
}

const CANCEL = {
  name: "restore_children",
  text: "insert into outbox (kind, parent_id, child_id) select 'cancel', $1, c from unnest($2::uuid[]) as c",
};

/** Owes these children their end; the outbox pays. */
export function cancelLater(tx: Transaction, parentId: string, children: readonly string[]): void {
  if (children.length > 0) void tx.query(CANCEL, [parentId, children]);
}

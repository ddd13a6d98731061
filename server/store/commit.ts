// The end of a transaction, and what to do when its answer is lost: look, never guess.

import type { PoolClient } from "pg";
import type { IntentEvent } from "../domain/event.ts";
import { Refusal } from "../domain/refusal.ts";
import { isConnectionError, isRefusedByDatabase, type Store } from "./connection.ts";
import type { IdempotencyRecord, NewState, Workspace } from "./workspace.ts";

interface WrittenAt {
  readonly at: number;
}

/** What a transaction can be recognised by afterwards. One row proves all that was written with it. */
export interface Proof {
  readonly xid: string;
  readonly event?: IntentEvent | undefined;
  /** Looked for only without an event. */
  readonly state?: (NewState & WrittenAt) | undefined;
  /** Looked for only without either. */
  readonly record?: (IdempotencyRecord & WrittenAt) | undefined;
  /** Something was written that must not be written twice. */
  readonly wrote: boolean;
}

/** The proof of a workspace's writes. Timers do not count: they follow from their intents, and are the same the second time. */
export function proofOf(xid: string, work: Workspace): Proof {
  const [event] = work.events;
  const [state] = work.newState;
  const [record] = work.newRecords;
  const wrote =
    !work.touched().next().done || event !== undefined || state !== undefined || record !== undefined;
  const at = work.now;
  return { xid, event, state: state && { ...state, at }, record: record && { ...record, at }, wrote };
}

/** Sends COMMIT behind the writes. Resolves only if it is committed; an error other than `unavailable` means that it is not. */
export async function commitPipelined(
  store: Store,
  client: PoolClient,
  writes: Promise<unknown>[],
  proof: Proof,
): Promise<void> {
  const commit = client.query("commit");
  const results = await Promise.allSettled([...writes, commit]);
  const failed = results.find((result) => result.status === "rejected");
  if (failed === undefined) {
    const { command } = await commit;
    // COMMIT of an aborted transaction answers ROLLBACK without an error.
    if (command !== "COMMIT") throw new Error(`the transaction ended with ${command} instead of COMMIT`);
    return;
  }
  const error: unknown = failed.reason;
  if (!isConnectionError(error)) throw error;
  if (await wasCommitted(store, proof)) return;
  throw error;
}

/** Undoes what a statement that failed has left; false when the connection cannot be used again. */
export function rollBack(client: PoolClient): Promise<boolean> {
  return client.query("rollback").then(
    () => true,
    () => false,
  );
}

/** A flush holds its place all the while. */
const LOOK_UP_MS = 10_000;
const LOOK_UP_PAUSE_MS = 100;

// The transaction's id alone proves nothing: PostgreSQL logs no id before it is used, so that after a crash the next
// transaction may get the same one. Its row, written by that id at that instant, is its own.
const BY_THIS = "xmin::text::bigint = $1::text::bigint % 4294967296";

function witness({ xid, event, state, record }: Proof): { text: string; values: unknown[] } | undefined {
  if (event !== undefined)
    return {
      text: `select 1 from events where ${BY_THIS} and intent_id = $2 and seq = $3 and type = $4
        and at = to_timestamp($5::float8 / 1000)`,
      values: [xid, event.intentId, event.seq, event.type, event.at],
    };
  if (state !== undefined) {
    const { scope, key, version } = state.version;
    return {
      text: `select 1 from state_versions where ${BY_THIS} and namespace = $2 and scope = $3 and key = $4 and version = $5
        and at = to_timestamp($6::float8 / 1000)`,
      values: [xid, state.namespace, scope, key, version, state.at],
    };
  }
  if (record !== undefined)
    return {
      text: `select 1 from idempotency_keys where ${BY_THIS} and namespace = $2 and sender = $3 and operation = $4 and key = $5
        and created_at = to_timestamp($6::float8 / 1000)`,
      values: [xid, record.namespace, record.sender, record.operation, record.key, record.at],
    };
  return undefined;
}

/**
 * Whether the transaction that would prove itself so is in the database. Waits a while if that is undecided. False means that doing it
 * again writes nothing twice; throws `unavailable` when nobody can tell.
 */
export async function wasCommitted(
  store: Store,
  proof: Proof,
  withinMs: number = LOOK_UP_MS,
): Promise<boolean> {
  if (!proof.wrote) return false;
  const looked = witness(proof);
  if (looked === undefined) throw outcomeUnknown();
  const end = performance.now() + withinMs;
  for (;;) {
    const found = await before(end, lookUp(store, proof.xid, looked));
    if (found !== undefined) return found;
    if (performance.now() + LOOK_UP_PAUSE_MS > end) throw outcomeUnknown();
    await new Promise((resolve) => setTimeout(resolve, LOOK_UP_PAUSE_MS));
  }
}

// A commit that waits for its standby and is cut off is in sight at once, and yet nowhere else. This one is behind it in the log: it waits for
// the standby as well, and once it is done, so is all before it. Without a standby it is one small commit.
const REPLICATED = "select pg_logical_emit_message(true, 'perdure', '')";

/** Undefined while nobody can tell. */
async function lookUp(
  store: Store,
  xid: string,
  looked: { text: string; values: unknown[] },
): Promise<boolean | undefined> {
  try {
    // Looked for only once it is over, by a statement of its own: an older snapshot would not see it.
    if (!(await isOver(store, xid))) return undefined;
    const { rowCount } = await store.pool.query(looked);
    if (rowCount !== 1) return false;
    await store.pool.query(REPLICATED);
    return true;
  } catch (error) {
    if (isConnectionError(error)) return undefined;
    throw error;
  }
}

/** Undefined when the time comes first: an answer may take longer than there is time to wait for it. */
function before<T>(end: number, answer: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), end - performance.now());
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

const outcomeUnknown = () =>
  new Refusal(
    "unavailable",
    "the database went away during a commit: the outcome is unknown. Repeat the call with the same attempt or Idempotency-Key",
    { outcome: "unknown" },
  );

async function isOver(store: Store, xid: string): Promise<boolean> {
  try {
    const { rows } = await store.pool.query<{ status: string | null }>(
      "select pg_xact_status($1::xid8) as status",
      [xid],
    );
    return rows[0]?.status !== "in progress";
  } catch (error) {
    // An id of the future: a crash forgot that it was ever given out.
    if (isRefusedByDatabase(error)) return true;
    throw error;
  }
}

// Windows: the delivery cursor of each address, what ended windows owe, and the consumers that one windowed delivery each makes.

import { encodeArray, type PgType } from "./binary.ts";
import type { Store } from "./connection.ts";
import type { Transaction } from "./transaction.ts";

/** Whose windows, and where. */
export interface Account {
  readonly address: string;
  /** The caller's key, by its digest. */
  readonly account: string;
}

/** A request that is expected. */
export interface Owed extends Account {
  readonly seq: number;
  /** When that began, before now. */
  readonly ageMs: number;
  /** From then on; null: without limit. */
  readonly lastsMs: number | null;
  readonly arrivedAt: number | null;
  /** Of a listener of whom nobody could ask whether it was expected: how long ago it came. */
  readonly cameMs: number | null;
}

const columns = <Row>(rows: readonly Row[], ...wanted: [PgType, (row: Row) => unknown][]) =>
  wanted.map(([type, get]) => encodeArray(type, rows.map(get)));

const OWE = {
  name: "owed_cursors_insert",
  text: `insert into owed_cursors (address, account, seq, owed_at, expires_at, arrived_at)
    select d.address, d.account, d.seq, o.at, o.at + make_interval(secs => d.lasts_ms / 1000.0),
      coalesce(d.arrived_at, t.now - make_interval(secs => d.came_ms / 1000.0))
    from unnest($1::text[], $2::text[], $3::int8[], $4::int8[], $5::int8[], $6::timestamptz[], $7::int8[])
        as d(address, account, seq, age_ms, lasts_ms, arrived_at, came_ms)
      cross join (select perdure_now() as now) t
      cross join lateral (select t.now - make_interval(secs => d.age_ms / 1000.0) as at) o`,
};

const owedValues = (owed: readonly Owed[]) =>
  columns(
    owed,
    ["text", (o) => o.address],
    ["text", (o) => o.account],
    ["int8", (o) => o.seq],
    ["int8", (o) => Math.round(o.ageMs)],
    ["int8", (o) => o.lastsMs],
    ["timestamptz", (o) => o.arrivedAt],
    ["int8", (o) => (o.cameMs === null ? null : Math.round(o.cameMs))],
  );

export async function oweCursors(store: Store, owed: readonly Owed[]): Promise<void> {
  await store.pool.query({ ...OWE, values: owedValues(owed) });
}

/** With a delivery, or not at all. */
export function oweInside(tx: Transaction, owed: readonly Owed[]): void {
  void tx.query(OWE, owedValues(owed));
}

export interface Arrival {
  /** It was expected. */
  readonly continues: boolean;
  /** Since when it may take over what went out before; null: it may not, or not any more. */
  readonly arrived_at: number | null;
  readonly now: number;
}

// The newest of several debts alike: who had which cannot be told apart, and need not be; older ones of one listener are left over
// from windows of which nobody could ask who came.
const ARRIVE = {
  name: "owed_cursors_arrive",
  text: `with t as materialized (select now, now - make_interval(secs => $4::int / 1000.0) as came_at
        from (select perdure_now() as now) n),
      settled as (delete from owed_cursors where id = (
          select o.id from owed_cursors o cross join t
          where o.address = $1 and o.account = $2 and o.seq = $3 and (o.expires_at is null or o.expires_at >= t.came_at)
          order by o.id desc limit 1 for update of o skip locked)
        returning arrived_at)
    select exists (select 1 from settled) as continues, t.now,
      case when exists (select 1 from settled) then (select arrived_at from settled) else t.came_at end as arrived_at
    from t`,
};

/** Takes what is owed to this request, if anything is. `ageMs`: how long it has waited to be asked for. */
export async function arrive(
  store: Store,
  { address, account }: Account,
  since: number,
  ageMs: number,
): Promise<Arrival> {
  const { rows } = await store.pool.query<Arrival>({
    ...ARRIVE,
    values: [address, account, since, Math.round(ageMs)],
  });
  const [row] = rows;
  if (row === undefined) throw new Error("an arrival was not answered");
  return row;
}

const LATE = {
  name: "owed_cursors_late",
  text: `delete from owed_cursors where id = (
      select o.id from owed_cursors o cross join (select to_timestamp($4::float8 / 1000) as at) a
      where o.address = $1 and o.account = $2 and o.seq = $3
        and o.owed_at <= a.at and (o.expires_at is null or o.expires_at >= a.at) order by o.id desc limit 1 for update of o skip locked) returning arrived_at`,
};

/**
 * Takes a debt from before this arrival that nobody could look for then, or that was written down only afterwards: the database had
 * been away. Undefined: there is none, and whoever arrived then was a newcomer.
 */
export async function lateDebt(
  tx: Transaction,
  { address, account }: Account,
  since: number,
  arrivedAt: number,
): Promise<{ arrived_at: number | null } | undefined> {
  const [row] = await tx.query<{ arrived_at: number | null }>(LATE, [address, account, since, arrivedAt]);
  return row;
}

const FORGET = "delete from owed_cursors where expires_at < perdure_now() - interval '1 hour'";
/** Whoever does not come back from one delivery for so long is not expected any more. */
const FORGET_OLD = "delete from owed_cursors where owed_at < perdure_now() - interval '30 days'";

export async function forgetOwed(store: Store): Promise<void> {
  await store.pool.query(FORGET);
  await store.pool.query(FORGET_OLD);
}

/** Makes the cursor where there is none, so that a first delivery is waited for as well. */
export const LOCK_CURSOR = {
  name: "delivery_cursor_lock",
  text: `insert into delivery_cursors (address, seq) values ($1, 0)
    on conflict (address) do update set seq = delivery_cursors.seq returning seq`,
};

// A statement behind the lock: it sees a pause that was committed while this one waited for it.
const PAUSED = {
  name: "windowed_agent_paused",
  text: "select 1 from agents where address = $1 and paused_at is not null",
};

/**
 * The number of the address's last delivery through a window; null when its agent is paused. Locked last: whoever waits for it holds
 * what it needs. Whoever pauses the agent takes this lock, too, before it looks for what the agent holds.
 */
export async function lockCursor(tx: Transaction, address: string): Promise<number | null> {
  const [[row], paused] = await Promise.all([
    tx.query<{ seq: number }>(LOCK_CURSOR, [address]),
    tx.query(PAUSED, [address]),
  ]);
  return paused.length > 0 ? null : Number(row?.seq ?? 0);
}

const MOVE_CURSOR = {
  name: "delivery_cursor_move",
  text: "update delivery_cursors set seq = $2 where address = $1",
};

export function moveCursor(tx: Transaction, address: string, seq: number): void {
  void tx.query(MOVE_CURSOR, [address, seq]);
}

/** The consumer that one windowed delivery makes. */
export interface WindowedConsumer extends Account {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
}

const CONSUMERS = {
  name: "windowed_consumers_insert",
  text: `insert into consumers (id, namespace, address, name, incarnation, mode, explicit_ack, capacity, lease_ttl_ms, lease_until,
      stream_no, replica_id, account, created_at, seen_at)
    select d.id, d.namespace, d.address, d.name, d.name, 'windowed', false, 1, $6::int, t.now + make_interval(secs => $6::int / 1000.0),
      1, $7::uuid, d.account, t.now, t.now
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) as d(id, namespace, address, name, account)
      cross join (select perdure_now() as now) t`,
};

export function saveWindowed(
  tx: Transaction,
  consumers: readonly WindowedConsumer[],
  leaseMs: number,
  replicaId: string,
): void {
  const values = columns(
    consumers,
    ["uuid", (c) => c.id],
    ["text", (c) => c.namespace],
    ["text", (c) => c.address],
    ["text", (c) => c.name],
    ["text", (c) => c.account],
  );
  void tx.query(CONSUMERS, [...values, leaseMs, replicaId]);
}

const HANDED_OUT = {
  name: "windowed_handed_out",
  text: `select c.id from consumers c join leases l on l.consumer_id = c.id join intents i on i.id = l.intent_id
    where c.account = $1 and c.address = $2 and c.created_at < to_timestamp($3::float8 / 1000)
      and not i.paused and i.strikes + 1 < i.max_delivery_attempts
    order by c.created_at, c.id limit $4`,
};

/** What went out through this account's windows before an instant, the oldest first, as far as a newcomer may have it. Locks nothing. */
export async function handedOut(
  tx: Transaction,
  { address, account }: Account,
  before: number,
  limit: number,
): Promise<string[]> {
  const rows = await tx.query<{ id: string }>(HANDED_OUT, [account, address, before, limit]);
  return rows.map((row) => row.id);
}

// Whoever holds one of them just now is ending it.
const RENEW = {
  name: "windowed_renew",
  text: `update consumers c set lease_until = perdure_now() + make_interval(secs => c.lease_ttl_ms / 1000.0), seen_at = perdure_now()
    where c.id = any (array(select r.id from consumers r
      where r.account = $1 and ($2::text is null or r.address = $2) and r.lease_until > perdure_now() order by r.id for update skip locked))`,
};

/** Of one address, or of all. Answers how many. */
export async function renewWindowed(store: Store, account: string, address: string | null): Promise<number> {
  const result = await store.pool.query({ ...RENEW, values: [account, address] });
  return result.rowCount ?? 0;
}

const EXTEND = {
  name: "windowed_extend",
  text: "update consumers set lease_until = to_timestamp($2::float8 / 1000) where id = $1",
};

export function extendLease(tx: Transaction, id: string, until: number): void {
  void tx.query(EXTEND, [id, until]);
}

const FORGET_SPENT = `delete from consumers where id = any (array(select c.id from consumers c
    where c.account is not null and not exists (select 1 from leases l where l.consumer_id = c.id)
    order by c.id limit $1 for update skip locked))`;

/** Consumers whose one delivery has ended: nothing will ever come to them again. */
export async function forgetSpent(store: Store, limit: number): Promise<number> {
  const result = await store.pool.query(FORGET_SPENT, [limit]);
  return result.rowCount ?? 0;
}

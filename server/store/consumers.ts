// Consumers: who listens where, and until when its lease runs. Every check is made under the row's lock.

import { encodeArray, encodeColumn } from "./binary.ts";
import { isLockTimeout, type Store } from "./connection.ts";
import type { ConsumersTable } from "./database.ts";
import { HELD, type HeldRow, heldFloors } from "./held.ts";
import type { Transaction } from "./transaction.ts";

export interface ConsumerRow extends ConsumersTable {
  /** The database clock, read under the lock. */
  readonly now: number;
}

const BY_NAME = `from unnest($1::text[], $2::text[], $3::text[]) with ordinality as w(namespace, address, name, place)
    join consumers c on c.namespace = w.namespace and c.address = w.address and c.name = w.name`;
const LOCK_BY_NAME = {
  name: "consumers_lock_by_name",
  text: `select c.*, perdure_now() as now, w.place::int as place ${BY_NAME} order by c.id for update of c`,
};
const LOCK_FREE_BY_NAME = {
  name: "consumers_lock_free_by_name",
  text: `${LOCK_BY_NAME.text} skip locked`,
};
const FIND_BY_NAME = { name: "consumers_find_by_name", text: `select w.place::int as place ${BY_NAME}` };
const LOCK_BY_ID = {
  name: "consumers_lock",
  text: "select c.*, perdure_now() as now from consumers c where id = any($1::uuid[]) order by id for update",
};
const LOCK_FREE_BY_ID = {
  name: "consumers_lock_free",
  text: "select c.*, perdure_now() as now from consumers c where id = any($1::uuid[]) order by id for update skip locked",
};
const CLOCK = { name: "clock", text: "select perdure_now() as now" };

export interface ConsumerName {
  readonly namespace: string;
  readonly address: string;
  readonly name: string;
}

/**
 * The rows of these names, each named once, in their order; undefined where there is none. With `freeOnly` it says "busy" of those that
 * another transaction holds, instead of waiting for it.
 */
export async function lockConsumersByName(
  tx: Transaction,
  names: readonly ConsumerName[],
  { freeOnly }: { readonly freeOnly: boolean },
): Promise<(ConsumerRow | "busy" | undefined)[]> {
  const columns = [
    encodeColumn("text", names, (one) => one.namespace),
    encodeColumn("text", names, (one) => one.address),
    encodeColumn("text", names, (one) => one.name),
  ];
  const [rows, there, [clock]] = await Promise.all([
    tx.query<ConsumerRow & { place: number }>(freeOnly ? LOCK_FREE_BY_NAME : LOCK_BY_NAME, columns),
    freeOnly ? tx.query<{ place: number }>(FIND_BY_NAME, columns) : [],
    tx.query<{ now: number }>(CLOCK, []),
  ]);
  const found: (ConsumerRow | "busy" | undefined)[] = names.map(() => undefined);
  for (const { place } of there) found[place - 1] = "busy";
  // now() of the locking statement was read before a lock wait; the later statement's is after it.
  for (const { place, ...row } of rows) found[place - 1] = { ...row, now: clock?.now ?? row.now };
  return found;
}

/** `freeOnly` leaves out whom another transaction holds, instead of waiting for it. */
export async function lockConsumers(
  tx: Transaction,
  ids: readonly string[],
  freeOnly = false,
): Promise<ConsumerRow[]> {
  const [rows, [clock]] = await Promise.all([
    tx.query<ConsumerRow>(freeOnly ? LOCK_FREE_BY_ID : LOCK_BY_ID, [encodeArray("uuid", ids)]),
    tx.query<{ now: number }>(CLOCK, []),
  ]);
  return rows.map((row) => ({ ...row, now: clock?.now ?? row.now }));
}

// Who is new is not told apart from who has come meanwhile by waiting for that one's lock: nothing is written, and that shows.
const SAVE = {
  name: "consumers_save",
  text: `with t as materialized (select perdure_now() as now),
    w as materialized (select x.*, t.now, t.now + make_interval(secs => x.lease_ttl_ms / 1000.0) as lease_until
      from t cross join json_to_recordset($1::json) as x(id uuid, is_new boolean, namespace text, address text, name text,
        incarnation text, mode text, explicit_ack boolean, capacity int, intent_types text[], lease_ttl_ms int, stream_no bigint,
        replica_id uuid, superseded text[])),
    known as (update consumers c set incarnation = w.incarnation, mode = w.mode, explicit_ack = w.explicit_ack,
        capacity = w.capacity, intent_types = w.intent_types, lease_ttl_ms = w.lease_ttl_ms, lease_until = w.lease_until,
        stream_no = w.stream_no, heartbeats = c.heartbeats and c.incarnation = w.incarnation, replica_id = w.replica_id,
        superseded = w.superseded, seen_at = w.now
      from w where c.id = w.id and not w.is_new returning c.id, c.lease_until),
    new as (insert into consumers (id, namespace, address, name, incarnation, mode, explicit_ack, capacity, intent_types,
        lease_ttl_ms, lease_until, stream_no, heartbeats, replica_id, superseded, created_at, seen_at)
      select id, namespace, address, name, incarnation, mode, explicit_ack, capacity, intent_types, lease_ttl_ms, lease_until,
        stream_no, false, replica_id, superseded, now, now from w where is_new order by namespace, address, name
      on conflict (namespace, address, name) do nothing returning id, lease_until)
    select id, lease_until from known union all select id, lease_until from new`,
};

/** Somebody else took the name between the look and the write: look again. */
class NameTaken extends Error {
  readonly code = "40001";
}

export interface ConsumerWrite extends ConsumerName {
  readonly id: string;
  readonly incarnation: string;
  readonly mode: "stream" | "claim";
  readonly explicitAck: boolean;
  readonly capacity: number;
  readonly intentTypes: readonly string[] | null;
  readonly leaseTtlMs: number;
  readonly streamNo: number;
  readonly replicaId: string;
  readonly superseded: readonly string[];
  /** The name was free when it was looked for; there was no row to lock. */
  readonly isNew: boolean;
}

/** Until when their leases run now. The rows of those that are not new are locked. */
export async function saveConsumers(
  tx: Transaction,
  consumers: readonly ConsumerWrite[],
): Promise<Map<string, number>> {
  const rows = await tx.query<{ id: string; lease_until: number }>(SAVE, [
    JSON.stringify(
      consumers.map((c) => ({
        id: c.id,
        is_new: c.isNew,
        namespace: c.namespace,
        address: c.address,
        name: c.name,
        incarnation: c.incarnation,
        mode: c.mode,
        explicit_ack: c.explicitAck,
        capacity: c.capacity,
        intent_types: c.intentTypes,
        lease_ttl_ms: c.leaseTtlMs,
        stream_no: c.streamNo,
        replica_id: c.replicaId,
        superseded: c.superseded,
      })),
    ),
  ]);
  if (rows.length < consumers.length) throw new NameTaken("a consumer name was taken meanwhile");
  return new Map(rows.map((row) => [row.id, row.lease_until]));
}

const HEARTBEAT = {
  name: "consumer_heartbeat",
  text: `update consumers set lease_until = perdure_now() + make_interval(secs => lease_ttl_ms / 1000.0), heartbeats = true,
      capacity = coalesce($2::int, capacity), seen_at = perdure_now() where id = $1`,
};

export function renewByHeartbeat(tx: Transaction, id: string, capacity: number | null): void {
  void tx.query(HEARTBEAT, [id, capacity]);
}

const REFUSED = {
  name: "consumer_refused",
  text: "update consumers set refused_at = perdure_now() where id = $1",
};

export function markRefused(tx: Transaction, id: string): void {
  void tx.query(REFUSED, [id]);
}

const EXPIRED = {
  name: "consumer_expired",
  text: "update consumers set lease_until = null where id = any($1::uuid[])",
};

export function endLeases(tx: Transaction, ids: readonly string[]): void {
  void tx.query(EXPIRED, [encodeArray("uuid", ids)]);
}

const HOLDINGS = {
  name: "leases_held",
  text: `select l.intent_id, l.attempt, l.consumer_id from unnest($1::uuid[], $2::int8[]) as w(id, floor)
    cross join lateral (select * from leases h where h.consumer_id = w.id and h.no > w.floor offset 0) l order by l.intent_id`,
};

export interface HeldLease {
  readonly intent_id: string;
  readonly attempt: number;
  readonly consumer_id: string;
}

export function heldBy(tx: Transaction, ids: readonly string[]): Promise<HeldLease[]> {
  return tx.query<HeldLease>(HOLDINGS, heldFloors(tx.client).parameters(ids));
}

const COUNTS = { name: "leases_count", text: HELD };

/** What consumers hold; those it says are locked have been locked before. */
export async function countHeld(
  tx: Transaction,
  ids: readonly string[],
  locked: Promise<readonly { readonly id: string }[]>,
): Promise<Map<string, number>> {
  const floors = heldFloors(tx.client);
  const rows = await tx.query<HeldRow>(COUNTS, floors.parameters(ids));
  const held = new Map(rows.map((row) => [row.consumer_id, row]));
  floors.learn((await locked).flatMap(({ id }) => held.get(id) ?? []));
  return new Map(rows.map((row) => [row.consumer_id, row.held]));
}

export interface StreamRef {
  readonly id: string;
  readonly streamNo: number;
}

const CLOSE_ALL = `update consumers c set closed_stream_no = c.stream_no,
        lease_until = least(c.lease_until, perdure_now() + make_interval(secs => $3::int / 1000.0))
      from unnest($1::uuid[], $2::int8[]) as s(id, stream_no) where c.id = s.id and c.stream_no = s.stream_no`;

/**
 * Closes that this server saw and did not start: the same incarnation has `graceMs` to come back. Only the newest stream of each
 * consumer counts.
 */
export async function markStreamsClosed(
  store: Store,
  streams: readonly StreamRef[],
  graceMs: number,
): Promise<void> {
  // The join takes them in this order, so that they are locked in it like everywhere.
  const inOrder = [...streams].sort((one, other) => (one.id < other.id ? -1 : 1));
  const values = [
    encodeColumn("uuid", inOrder, (one) => one.id),
    encodeColumn("int8", inOrder, (one) => one.streamNo),
    graceMs,
  ];
  await store.pool.query({ name: "streams_close", text: CLOSE_ALL, values });
}

const RENEW = `update consumers c set lease_until = perdure_now() + make_interval(secs => c.lease_ttl_ms / 1000.0), seen_at = perdure_now()
      from unnest($1::uuid[], $2::int8[]) as s(id, stream_no)
      where c.id = s.id and c.stream_no = s.stream_no and c.closed_stream_no < c.stream_no
        and not c.heartbeats and c.mode = 'stream' and c.lease_until > perdure_now()`;

/** Keeps consumers alive that never heartbeat but whose newest stream is open here. */
export async function renewOpenStreams(store: Store, streams: readonly StreamRef[]): Promise<void> {
  if (streams.length === 0) return;
  const values = [
    encodeArray(
      "uuid",
      streams.map((s) => s.id),
    ),
    encodeArray(
      "int8",
      streams.map((s) => s.streamNo),
    ),
  ];
  await withoutHeld(streams.length, (condition) =>
    store.pool.query({
      name: `consumers_renew${condition === "" ? "" : "_free"}`,
      text: `${RENEW} ${condition}`,
      values,
    }),
  );
}

/**
 * Of streams open here: those whose lease has been ended all the same (and the losses told), because it was not renewed in time, or
 * whose consumer is there no more.
 */
export async function streamsWithoutLease(store: Store, streams: readonly StreamRef[]): Promise<string[]> {
  if (streams.length === 0) return [];
  const { rows } = await store.pool.query<{ id: string }>({
    name: "streams_without_lease",
    text: `select s.id from unnest($1::uuid[], $2::int8[]) as s(id, stream_no) left join consumers c on c.id = s.id
      where c.id is null or (c.stream_no = s.stream_no and c.lease_until is null)`,
    values: [
      encodeArray(
        "uuid",
        streams.map((s) => s.id),
      ),
      encodeArray(
        "int8",
        streams.map((s) => s.streamNo),
      ),
    ],
  });
  return rows.map((row) => row.id);
}

const SHOWN = `update consumers c set lease_until = perdure_now() + make_interval(secs => c.lease_ttl_ms / 1000.0), seen_at = perdure_now()
      where c.mode in ('claim', 'windowed') and c.lease_until > perdure_now()`;

/** A consumer without a stream shows life by its fenced writes. */
export async function renewByWrite(store: Store, ids: readonly string[]): Promise<void> {
  await withoutHeld(ids.length, (condition) =>
    store.pool.query(`${SHOWN} and c.id = any($1::uuid[]) ${condition}`, [ids]),
  );
}

const IS_FREE = `and c.id = any (array(select f.id from consumers f where f.id = any($1::uuid[]) order by f.id for update skip locked))`;

/** For all of them; when a server that was stopped holds one, for the others: they need not lose their leases for it. */
async function withoutHeld(count: number, update: (condition: string) => Promise<unknown>): Promise<void> {
  try {
    await update("");
  } catch (error) {
    if (!isLockTimeout(error) || count === 1) throw error;
    await update(IS_FREE);
  }
}

/** Consumers whose lease ran out, the oldest first. */
export async function expiredConsumers(store: Store, limit: number): Promise<string[]> {
  const { rows } = await store.pool.query<{ id: string }>({
    name: "consumers_expired",
    text: "select id from consumers where lease_until <= (select perdure_now()) order by lease_until, id limit $1",
    values: [limit],
  });
  return rows.map((row) => row.id);
}

/**
 * Forgets names that nobody has used for long and that hold nothing. Whoever is just coming back holds the row's lock, and a DELETE
 * that waited for it would look only at its own conditions again: so it does not wait, and it has them all.
 */
export async function forgetIdleConsumers(store: Store, idleMs: number, limit: number): Promise<number> {
  const result = await store.pool.query(
    `with t as materialized (select perdure_now() - make_interval(secs => $1::int / 1000.0) as idle_since)
      delete from consumers c using t where c.lease_until is null and c.seen_at < t.idle_since
        and not exists (select 1 from leases l where l.consumer_id = c.id)
        and c.id = any (array(select i.id from consumers i, t
          where i.lease_until is null and i.seen_at < t.idle_since
            and not exists (select 1 from leases l where l.consumer_id = i.id)
          order by i.id limit $2 for update of i skip locked))`,
    [idleMs, limit],
  );
  return result.rowCount ?? 0;
}

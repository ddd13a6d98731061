// Consumers: who listens where, and until when its lease runs. Every check is made under the row's lock.

import { encodeArray } from "./binary.ts";
import { isLockTimeout, type Store } from "./connection.ts";
import type { ConsumersTable } from "./database.ts";
import { HELD, type HeldRow, heldFloors } from "./held.ts";
import type { Transaction } from "./transaction.ts";

export interface ConsumerRow extends ConsumersTable {
  /** The database clock, read under the lock. */
  readonly now: number;
}

const LOCK_BY_NAME = {
  name: "consumer_lock_by_name",
  text: `select c.*, perdure_now() as now from consumers c
    where namespace = $1 and address = $2 and name = $3 for update`,
};
const LOCK_BY_ID = {
  name: "consumers_lock",
  text: "select c.*, perdure_now() as now from consumers c where id = any($1::uuid[]) order by id for update",
};
const LOCK_FREE_BY_ID = {
  name: "consumers_lock_free",
  text: "select c.*, perdure_now() as now from consumers c where id = any($1::uuid[]) order by id for update skip locked",
};
const CLOCK = { name: "clock", text: "select perdure_now() as now" };

export async function lockConsumerByName(
  tx: Transaction,
  namespace: string,
  address: string,
  name: string,
): Promise<ConsumerRow | undefined> {
  const [[row], [clock]] = await Promise.all([
    tx.query<ConsumerRow>(LOCK_BY_NAME, [namespace, address, name]),
    tx.query<{ now: number }>(CLOCK, []),
  ]);
  // now() of the locking statement was read before a lock wait; the later statement's is after it.
  return row === undefined ? undefined : { ...row, now: clock?.now ?? row.now };
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

const UPSERT = {
  name: "consumer_upsert",
  text: `insert into consumers (id, namespace, address, name, incarnation, mode, explicit_ack, capacity, intent_types,
      lease_ttl_ms, lease_until, stream_no, heartbeats, replica_id, superseded, created_at, seen_at)
    select $1::uuid, $2, $3, $4, $5, $6, $7, $8, $9::text[], $10, t.now + make_interval(secs => $10::int / 1000.0), $11, false, $12::uuid,
      $13::text[], t.now, t.now from (select perdure_now() as now) t
    on conflict (namespace, address, name) do update set incarnation = excluded.incarnation, mode = excluded.mode,
      explicit_ack = excluded.explicit_ack, capacity = excluded.capacity, intent_types = excluded.intent_types,
      lease_ttl_ms = excluded.lease_ttl_ms, lease_until = excluded.lease_until, stream_no = excluded.stream_no,
      heartbeats = case when consumers.incarnation = excluded.incarnation then consumers.heartbeats else false end,
      replica_id = excluded.replica_id, superseded = excluded.superseded, seen_at = excluded.seen_at
    returning id, stream_no, lease_until`,
};

/** Somebody else took the name between the look and the write: look again. */
class NameTaken extends Error {
  readonly code = "40001";
}

export interface ConsumerWrite {
  readonly id: string;
  readonly namespace: string;
  readonly address: string;
  readonly name: string;
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

export async function saveConsumer(
  tx: Transaction,
  c: ConsumerWrite,
): Promise<{ id: string; stream_no: number; lease_until: number }> {
  const [row] = await tx.query<{ id: string; stream_no: number; lease_until: number }>(UPSERT, [
    c.id,
    c.namespace,
    c.address,
    c.name,
    c.incarnation,
    c.mode,
    c.explicitAck,
    c.capacity,
    c.intentTypes,
    c.leaseTtlMs,
    c.streamNo,
    c.replicaId,
    c.superseded,
  ]);
  if (row === undefined) throw new Error("saving a consumer returned no row");
  if (c.isNew && row.id !== c.id) throw new NameTaken("the consumer name was taken meanwhile");
  return row;
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

/** A close that this server saw and did not start: the same incarnation has `graceMs` to come back. Only the newest stream counts. */
export async function markStreamClosed(
  store: Store,
  id: string,
  streamNo: number,
  graceMs: number,
): Promise<number | null> {
  const { rows } = await store.pool.query<{ lease_until: number | null }>(
    `update consumers set closed_stream_no = stream_no,
        lease_until = least(lease_until, perdure_now() + make_interval(secs => $3::int / 1000.0))
      where id = $1 and stream_no = $2 returning lease_until`,
    [id, streamNo, graceMs],
  );
  return rows[0]?.lease_until ?? null;
}

const RENEW = `update consumers c set lease_until = perdure_now() + make_interval(secs => c.lease_ttl_ms / 1000.0), seen_at = perdure_now()
      from unnest($1::uuid[], $2::int8[]) as s(id, stream_no)
      where c.id = s.id and c.stream_no = s.stream_no and c.closed_stream_no < c.stream_no
        and not c.heartbeats and c.mode = 'stream' and c.lease_until > perdure_now()`;

/** Keeps consumers alive that never heartbeat but whose newest stream is open here. */
export async function renewOpenStreams(
  store: Store,
  streams: readonly { id: string; streamNo: number }[],
): Promise<void> {
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
export async function streamsWithoutLease(
  store: Store,
  streams: readonly { id: string; streamNo: number }[],
): Promise<string[]> {
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

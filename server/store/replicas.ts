// Replicas: the pulse of each, from which everyone can tell until when anybody served, and what an outage grants to those
// who could not be heard (DELIVERY D6).

import pg from "pg";
import { encodeArray } from "./binary.ts";
import type { Store } from "./connection.ts";
import { partsFrom, WITHIN_PART } from "./queue-heads.ts";
import type { Transaction } from "./transaction.ts";

/** Bounds on the age of the newest pulse of all replicas. */
export interface Patience {
  /** Older than this: whoever was silent may have been unable to speak. */
  readonly doubtMs: number;
  /** Older than this: nobody served; nothing that is known of streams counts any more. */
  readonly awayMs: number;
}

export interface PulseQuery extends Patience {
  readonly replicaId: string;
  /** What to look at of the queues at which somebody waits here (QueueHeads). */
  readonly queues: readonly Buffer[];
  /** Open here, as far as this replica knows. */
  readonly streams: readonly OpenStream[];
}

export interface OpenStream {
  readonly id: string;
  readonly streamNo: number;
}

export interface PulseRow {
  /** False: this replica is new, or nobody pulsed for too long. Nothing was written; `recover` comes first. */
  readonly served: boolean;
  /** Other replicas that pulsed within `awayMs`. */
  readonly others: number;
  /** Another replica pulsed after this one came up. */
  readonly others_since: boolean;
  readonly timers_due: boolean;
  readonly leases_over: boolean;
  readonly outbox_full: boolean;
  /** The first entry of each part of a queue that is not empty, as JSON. */
  readonly ready: string | null;
  /** Consumers whose stream is open here and counts as closed. */
  readonly closed_streams: string[];
}

/** A database that does not answer has to be noticed: a pulse waits no longer, and gives its connection up. */
export const PULSE_TIMEOUT_MS = 5_000;

const PULSE = {
  name: "pulse",
  query_timeout: PULSE_TIMEOUT_MS,
  text: `with t as (select perdure_now() as now),
      me as (select started_at from replicas where id = $1::uuid),
      seen as (select exists (select 1 from me) and max(r.pulsed_at) > max(t.now) - make_interval(secs => $3::int / 1000.0) as served,
          count(*) filter (where r.id <> $1::uuid and r.pulsed_at > t.now - make_interval(secs => $2::int / 1000.0))::int as others,
          coalesce(bool_or(r.id <> $1::uuid and r.pulsed_at > (select started_at from me)), false) as others_since
        from replicas r cross join t),
      mine as (update replicas set pulsed_at = t.now from t, seen where id = $1::uuid and seen.served)
    select coalesce(seen.served, false) as served, seen.others, seen.others_since,
      exists(select 1 from timers where due_at <= t.now) as timers_due,
      exists(select 1 from consumers where lease_until <= t.now) as leases_over,
      exists(select 1 from outbox) as outbox_full,
      (select json_agg(json_build_object('address', s.address, 'rank', q.rank, 'queueAt', extract(epoch from q.queue_at) * 1000))
        from ${partsFrom(6)} cross join lateral (select r.rank, r.queue_at from ready r where ${WITHIN_PART}
          order by r.rank, r.queue_at limit 1) q) as ready,
      array(select c.id::text from unnest($4::uuid[], $5::int8[]) as s(id, stream_no) join consumers c on c.id = s.id
        where c.closed_stream_no >= s.stream_no) as closed_streams
    from t, seen`,
};

/** Says that this replica lives, and what there is to do. */
export async function sendPulse(store: Store, query: PulseQuery): Promise<PulseRow> {
  const { rows } = await store.pool.query<PulseRow>({
    ...PULSE,
    values: [
      query.replicaId,
      query.awayMs,
      query.doubtMs,
      encodeArray(
        "uuid",
        query.streams.map((stream) => stream.id),
      ),
      encodeArray(
        "int8",
        query.streams.map((stream) => stream.streamNo),
      ),
      ...query.queues,
    ],
  });
  const [row] = rows;
  if (row === undefined) throw new Error("the pulse returned no row");
  return row;
}

const SERVED = {
  name: "served_lately",
  text: `select coalesce(bool_or(id = $1::uuid) and max(pulsed_at) > perdure_now() - make_interval(secs => $2::int / 1000.0), false) as served
    from replicas`,
};

/**
 * Whether silence may be held against anybody: this replica has come up in order, and somebody served until now. Asked under the
 * lock of a consumer whose lease has ended: a recovery that is not seen here waits for that lock, and so for whoever asks.
 */
export async function servedLately(
  tx: Transaction,
  replicaId: string,
  { doubtMs }: Patience,
): Promise<boolean> {
  const [row] = await tx.query<{ served: boolean }>(SERVED, [replicaId, doubtMs]);
  return row?.served === true;
}

/** One recovery at a time: a second one sees what the first granted. */
const RECOVERY_LOCK = 738_120_642;

const interval = (ms: number): string => `make_interval(secs => ${Math.round(ms)} / 1000.0)`;

/**
 * Grants grace and sends the first pulse after it, all or nothing, so that whoever sees the pulse sees the grace too. After an outage
 * nobody could mark a close or hear a heartbeat: every stream counts as closed, and whoever may still live gets `graceMs` to come
 * back. After a doubtful while, or with a replica that is new, nobody's lease ends before the grace does; nothing is taken away.
 * Sent as one text, in which PostgreSQL runs to the end whatever becomes of this process: no lock waits for a process that stopped.
 */
export async function recover(
  store: Store,
  replicaId: string,
  graceMs: number,
  { doubtMs, awayMs }: Patience,
): Promise<void> {
  const me = `${pg.escapeLiteral(replicaId)}::uuid`;
  await store.pool.query({
    query_timeout: PULSE_TIMEOUT_MS,
    text: `select pg_advisory_xact_lock(${RECOVERY_LOCK});
      with t as materialized (select perdure_now() as now),
        seen as materialized (select coalesce(max(pulsed_at) <= max(now) - ${interval(awayMs)}, true) as away,
          coalesce(max(pulsed_at) <= max(now) - ${interval(doubtMs)} or not bool_or(id = ${me}), true) as doubt from t left join replicas on true),
        held as (select c.id from consumers c, seen where seen.doubt and c.lease_until is not null order by c.id for update of c)
      update consumers c set
          closed_stream_no = case when seen.away and mode = 'stream' then stream_no else closed_stream_no end,
          lease_until = case when seen.away and mode = 'stream' then t.now + ${interval(graceMs)}
            else greatest(lease_until, t.now + ${interval(graceMs)}) end
        from t, seen, held where c.id = held.id and c.lease_until is not null;
      insert into replicas (id, started_at, pulsed_at) select ${me}, now, now from (select perdure_now() as now) t
        on conflict (id) do update set pulsed_at = excluded.pulsed_at`,
  } as pg.QueryConfig);
}

/** Replicas that stopped pulsing long ago. */
export async function forgetReplicas(store: Store): Promise<void> {
  await store.pool.query("delete from replicas where pulsed_at < perdure_now() - interval '1 hour'");
}

/** This replica goes away in order: whoever comes next need not wait to see whether it still pulses. */
export async function endPulses(store: Store, replicaId: string): Promise<void> {
  await store.pool.query("delete from replicas where id = $1", [replicaId]);
}

/** Streams of replicas that pulse no more count as closed, and their agents get `graceMs` to come back. */
export async function closeOrphans(store: Store, graceMs: number, awayMs: number): Promise<void> {
  await store.pool.query({
    query_timeout: PULSE_TIMEOUT_MS,
    text: `with held as (select c.id from consumers c where c.lease_until is not null and c.mode = 'stream'
          and not exists (select 1 from replicas r where r.id = c.replica_id and r.pulsed_at > perdure_now() - make_interval(secs => $2::int / 1000.0))
          order by c.id for update)
      update consumers c set closed_stream_no = stream_no, lease_until = perdure_now() + make_interval(secs => $1::int / 1000.0)
        from held where c.id = held.id and c.lease_until is not null`,
    values: [graceMs, awayMs],
  } as pg.QueryConfig);
}

// How the last while went: intents as they were created and as they ended, how long they took, what failed, what waits. Each part
// reads a bounded number of rows, the newest.

import { type RawBuilder, sql } from "kysely";
import { type Access, may, seesEverything } from "../../domain/access.ts";
import type { Store } from "../connection.ts";
import { covered, seen } from "../sight.ts";

export interface OverviewRange {
  readonly access: Access;
  readonly windowMs: number;
  readonly bucketMs: number;
  /** Canonical; null: all. */
  readonly toAgent: string | null;
  /** Rows that each part reads at most. */
  readonly maxRows: number;
}

export interface Bucket {
  readonly at: number;
  readonly created: number;
  readonly completed: number;
  readonly failed: number;
  readonly canceled: number;
  readonly timedOut: number;
  /** Deliveries beyond the first, of intents created then. */
  readonly redeliveries: number;
  /** Deliveries lost so far, of intents created then. */
  readonly lost: number;
  /** Milliseconds that intents created then waited for their first delivery, or have waited so far; null when none did. */
  readonly queued: { readonly p50: number | null; readonly p95: number | null };
  /** Milliseconds from creation to end, of those that completed then; null when none did. */
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}

export interface Failures {
  readonly code: string;
  readonly count: number;
  /** How many of them in each bucket. */
  readonly counts: readonly number[];
}

export interface Overview {
  readonly now: number;
  readonly buckets: readonly Bucket[];
  readonly latency: { readonly p50: number | null; readonly p95: number | null; readonly p99: number | null };
  readonly failures: readonly Failures[];
  readonly queues: readonly {
    readonly address: string;
    readonly waiting: number;
    readonly oldestMs: number;
    readonly listeners: number;
  }[];
  readonly capped: boolean;
}

type Row = Record<string, string | number | null>;
const number = (value: string | number | null | undefined): number => Number(value ?? 0);
const orNull = (value: string | number | null | undefined): number | null =>
  value == null ? null : Number(value);

const FAILURES_MAX = 20;
const QUEUES_MAX = 50;
/** A backlog is counted up to here; beyond it is "many". */
const WAITING_MAX = 10_000;

const sight = ({ access, toAgent }: OverviewRange): RawBuilder<boolean> => {
  const inSight = seesEverything(access) ? sql<boolean>`true` : seen(access, "i");
  return toAgent === null ? inSight : sql<boolean>`(${inSight} and i.to_agent = ${toAgent})`;
};

const bucketOf = (column: string, ms: number) =>
  sql`(floor(extract(epoch from ${sql.ref(column)}) * 1000 / ${ms}) * ${ms})::float8`;

const since = (ms: number) => sql`perdure_now() - make_interval(secs => ${ms}::float8 / 1000)`;

/** The smallest id that was made since then: ids begin with their time, so that the key leads there. */
const firstId = (ms: number) =>
  sql`(lpad(to_hex((extract(epoch from ${since(ms)}) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid`;

/** Of those delivered more than once, only the last delivery is known. */
const QUEUED = sql`percentile_cont(array[0.5, 0.95]) within group (order by case
    when attempt = 1 and delivered_at is not null then greatest(0, extract(epoch from delivered_at - queue_at) * 1000)
    when attempt = 0 and status = 'SUBMITTED' and not paused and queue_at <= perdure_now()
      then extract(epoch from perdure_now() - queue_at) * 1000 end)`;

async function created(store: Store, range: OverviewRange): Promise<Row[]> {
  const { windowMs, bucketMs, maxRows } = range;
  const { rows } = await sql<Row>`select ${bucketOf("created_at", bucketMs)} as bucket, count(*) as created,
      sum(greatest(attempt - 1, 0)) as redeliveries, sum(total_losses) as lost, array_to_json((${QUEUED}))::text as queued
    from (select i.created_at, i.attempt, i.total_losses, i.delivered_at, i.queue_at, i.status, i.paused from intents i where i.id >= ${firstId(windowMs)} and ${sight(range)}
      order by i.id desc limit ${maxRows}) x where created_at >= ${since(windowMs)} group by 1`.execute(
    store.db,
  );
  return rows;
}

/** Ends in the window. Those that are removed at a time of their own are indexed by that time, which is later. */
const ended = (range: OverviewRange) => endedWithin(range, since(range.windowMs));
const endedWithin = (
  range: OverviewRange,
  begin: RawBuilder<unknown>,
) => sql`(select o.status, o.code, o.finished_at, i.created_at from (
      (select * from outcomes where expires_at is null and finished_at >= ${begin} order by finished_at desc limit ${range.maxRows})
      union all
      (select * from outcomes where expires_at is not null and expires_at >= ${begin} and finished_at >= ${begin} limit ${range.maxRows})
    ) o join intents i on i.id = o.intent_id where ${sight(range)})`;

const PERCENTILES = sql`percentile_cont(array[0.5, 0.95, 0.99]) within group (order by
  case when status = 'COMPLETED' then extract(epoch from finished_at - created_at) * 1000 end)`;

async function finished(store: Store, range: OverviewRange): Promise<Row[]> {
  // One pass: by bucket, and with no bucket over all.
  const { rows } = await sql<Row>`select ${bucketOf("finished_at", range.bucketMs)} as bucket,
      count(*) filter (where status = 'COMPLETED') as completed, count(*) filter (where status = 'FAILED') as failed,
      count(*) filter (where status = 'CANCELED') as canceled, count(*) filter (where status = 'TIMED_OUT') as timed_out,
      count(*) as ended, array_to_json((${PERCENTILES}))::text as p
    from ${ended(range)} x group by grouping sets ((1), ())`.execute(store.db);
  return rows;
}

interface FailedRow {
  readonly code: string;
  readonly total: number;
  readonly bucket: number;
  readonly n: number;
}

/** By code and time; the codes that came most often. */
async function failures(store: Store, range: OverviewRange): Promise<readonly FailedRow[]> {
  const { rows } = await sql<FailedRow>`with failed as materialized (
      select coalesce(code, 'unknown') as code, ${bucketOf("finished_at", range.bucketMs)} as bucket from ${ended(range)} x
        where status in ('FAILED', 'TIMED_OUT')),
      most as (select code, count(*) as total from failed group by 1 order by 2 desc, 1 limit ${FAILURES_MAX})
    select code, total, bucket, count(*) as n from failed join most using (code) group by 1, 2, 3 order by 2 desc, 1`.execute(
    store.db,
  );
  return rows;
}

function failuresOf(rows: readonly FailedRow[], times: readonly number[]): readonly Failures[] {
  const byCode = new Map<string, { code: string; count: number; byTime: Map<number, number> }>();
  for (const { code, total, bucket, n } of rows) {
    const one = byCode.get(code) ?? { code, count: number(total), byTime: new Map() };
    one.byTime.set(number(bucket), number(n));
    byCode.set(code, one);
  }
  return [...byCode.values()].map(({ code, count, byTime }) => ({
    code,
    count,
    counts: times.map((at) => byTime.get(at) ?? 0),
  }));
}

/** What waits, and for whom: each address is a hop along the key, however long its queue is. */
async function queues(store: Store, { access, toAgent }: OverviewRange): Promise<Overview["queues"]> {
  const mine = seesEverything(access)
    ? sql`true`
    : sql`(${covered(access, sql.ref("a.to_agent"))} or (${may(access, "operate")} and starts_with(a.to_agent, ${`${access.namespace}/`})))`;
  const { rows } = await sql<Row>`with recursive a as (
      (select to_agent, 1 as n from ready order by to_agent limit 1)
      union all select (select r.to_agent from ready r where r.to_agent > a.to_agent order by r.to_agent limit 1), a.n + 1
        from a where a.to_agent is not null and a.n < 1000)
    select a.to_agent as address, q.waiting, q.oldest, (select count(*) from consumers k where k.address = a.to_agent
        and k.lease_until > perdure_now()) as listeners
      from a cross join lateral (select count(*) as waiting, extract(epoch from perdure_now() - min(queue_at)) * 1000 as oldest
        from (select queue_at from ready r where r.to_agent = a.to_agent order by rank, queue_at limit ${WAITING_MAX}) h) q
      where a.to_agent is not null and ${mine} and (${toAgent}::text is null or a.to_agent = ${toAgent}) and q.waiting > 0 order by q.oldest desc limit ${QUEUES_MAX}`.execute(
    store.db,
  );
  return rows.map((row) => ({
    address: String(row.address),
    waiting: number(row.waiting),
    oldestMs: Math.max(0, number(row.oldest)),
    listeners: number(row.listeners),
  }));
}

const percentilesOf = (row: Row | undefined) => {
  const [p50, p95, p99] = row?.p == null ? [] : (JSON.parse(String(row.p)) as (number | null)[]);
  return { p50: orNull(p50), p95: orNull(p95), p99: orNull(p99) };
};

const queuedOf = (row: Row | undefined) => {
  const [p50, p95] = row?.queued == null ? [] : (JSON.parse(String(row.queued)) as (number | null)[]);
  return { p50: orNull(p50), p95: orNull(p95) };
};

export async function readOverview(store: Store, range: OverviewRange): Promise<Overview> {
  const [begun, ends, failed, waiting, clock] = await Promise.all([
    created(store, range),
    finished(store, range),
    failures(store, range),
    queues(store, range),
    sql<{ now: number }>`select perdure_now() as now`.execute(store.db),
  ]);
  const now = Number(clock.rows[0]?.now ?? 0);
  const beginnings = new Map(begun.map((row) => [number(row.bucket), row]));
  const endings = new Map(ends.filter((row) => row.bucket !== null).map((row) => [number(row.bucket), row]));
  const whole = ends.find((row) => row.bucket === null);
  const first = Math.floor((now - range.windowMs) / range.bucketMs) * range.bucketMs;
  const buckets: Bucket[] = [];
  for (let at = first; at <= now; at += range.bucketMs) {
    const [begin, end] = [beginnings.get(at), endings.get(at)];
    buckets.push({
      at,
      created: number(begin?.created),
      redeliveries: number(begin?.redeliveries),
      lost: number(begin?.lost),
      queued: queuedOf(begin),
      completed: number(end?.completed),
      failed: number(end?.failed),
      canceled: number(end?.canceled),
      timedOut: number(end?.timed_out),
      ...percentilesOf(end),
    });
  }
  const seenRows = [begun.reduce((sum, row) => sum + number(row.created), 0), number(whole?.ended)];
  return {
    now,
    buckets,
    latency: percentilesOf(whole),
    failures: failuresOf(
      failed,
      buckets.map(({ at }) => at),
    ),
    queues: waiting,
    capped: seenRows.some((rows) => rows >= range.maxRows),
  };
}

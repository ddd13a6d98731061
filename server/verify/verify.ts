// Reads a live database and judges every intent in it. Changes nothing and locks nothing; each page is one snapshot.

import pg from "pg";
import { judgeLog, type LogEvent, type Violation } from "./log-rules.ts";
import { judgeRows, type StoredRows } from "./row-rules.ts";

export interface VerifyOptions {
  /** After each page: intents checked so far, and about how many there are. */
  readonly onProgress?: (checked: number, total: number) => void;
  readonly pageSize?: number;
}

export interface Verified {
  readonly checked: number;
  /** The first ones; `count` says how many there are. */
  readonly violations: readonly Violation[];
  readonly count: number;
}

const PAGE = 500;
/** More than anybody reads: what is broken a thousand times is not better known the next time. */
const KEPT = 1_000;

export async function verifyDatabase(url: string, options: VerifyOptions = {}): Promise<Verified> {
  const client = new pg.Client({
    connectionString: url,
    application_name: "perdure-verify",
    connectionTimeoutMillis: 10_000,
  });
  await client.connect();
  try {
    const violations: Violation[] = [];
    let count = 0;
    let checked = 0;
    const note = (found: readonly Violation[]): void => {
      count += found.length;
      violations.push(...found.slice(0, KEPT - violations.length));
    };
    const total = Number((await client.query("select count(*) as n from intents")).rows[0]?.n ?? 0);
    for (let after: string | null = null; ; ) {
      const page: Page = await readPage(client, after, options.pageSize ?? PAGE);
      for (const one of page.intents) note([...judgeLog(one.logged), ...judgeRows(one.rows)]);
      checked += page.intents.length;
      options.onProgress?.(checked, Math.max(checked, total));
      if (page.last === null) break;
      after = page.last;
    }
    note(await findOrphans(client));
    note(await findBrokenState(client));
    return { checked, violations, count };
  } finally {
    await client.end();
  }
}

interface Page {
  readonly intents: readonly { readonly logged: Parameters<typeof judgeLog>[0]; readonly rows: StoredRows }[];
  readonly last: string | null;
}

const INTENTS = `select i.id, i.status, i.paused, i.available_at is not null as delayed, i.consumer_id is not null as held, i.strikes,
    i.max_delivery_attempts, i.attempt, i.open_steps, i.steps_done, i.first_seq, o.status as outcome,
    case when l.intent_id is not null then l.consumer_id is not distinct from i.consumer_id and l.attempt = i.attempt end as lease,
    case when r.intent_id is not null then r.to_agent = i.to_agent and r.rank = -i.priority and r.queue_at = i.queue_at
      and r.intent_type = i.intent_type end as queue_entry,
    t.due_at is not distinct from case when o.status is null then least(i.deadline_at, i.available_at,
      case when i.consumer_id is not null then i.delivered_at + i.attempt_timeout_ms * interval '1 millisecond' end,
      case when i.consumer_id is not null then i.step_deadline end) end as timer_fits
  from (select * from intents where $1::uuid is null or id > $1 order by id limit $2) i
  left join outcomes o on o.intent_id = i.id
  left join leases l on l.intent_id = i.id
  left join lateral (select * from ready q where q.intent_id = i.id limit 1) r on true
  left join timers t on t.intent_id = i.id
  order by i.id`;

async function readPage(client: pg.Client, after: string | null, size: number): Promise<Page> {
  await client.query("begin transaction isolation level repeatable read read only");
  try {
    const { rows } = await client.query(INTENTS, [after, size]);
    const ids = rows.map((row) => row.id);
    const events = group(
      (
        await client.query(
          "select intent_id, seq, type, status, attempt, details from events where intent_id = any($1) order by intent_id, seq",
          [ids],
        )
      ).rows,
    );
    const steps = group(
      (
        await client.query(
          "select intent_id, key, status, attempt, position, result from steps where intent_id = any($1)",
          [ids],
        )
      ).rows,
    );
    const intents = rows.map((row) => toStored(row, events.get(row.id) ?? [], steps.get(row.id) ?? []));
    return { intents, last: rows.length < size ? null : ids.at(-1) };
  } finally {
    await client.query("commit");
  }
}

// biome-ignore lint/suspicious/noExplicitAny: rows as the database gives them
type Row = Record<string, any>;

function group(rows: readonly Row[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const known = groups.get(row.intent_id);
    if (known === undefined) groups.set(row.intent_id, [row]);
    else known.push(row);
  }
  return groups;
}

function toStored(row: Row, events: readonly Row[], steps: readonly Row[]): Page["intents"][number] {
  const { id, status, attempt } = row;
  const log = events.map(
    (event): LogEvent => ({
      seq: event.seq,
      type: event.type.replace("intent.", ""),
      status: event.status,
      attempt: event.attempt,
      details: event.details,
    }),
  );
  return {
    logged: {
      id,
      status,
      attempt,
      lostDeliveries: row.strikes,
      maxDeliveryAttempts: row.max_delivery_attempts,
      events: log,
      steps: steps.map((step) => ({ key: step.key, status: step.status, result: step.result })),
    },
    rows: {
      id,
      status,
      attempt,
      paused: row.paused,
      delayed: row.delayed,
      held: row.held,
      strikes: row.strikes,
      maxDeliveryAttempts: row.max_delivery_attempts,
      openSteps: row.open_steps,
      stepsDone: row.steps_done,
      outcome: row.outcome,
      lease: row.lease,
      queueEntry: row.queue_entry,
      timerFits: row.timer_fits,
      steps: steps.map((step) => ({
        key: step.key,
        status: step.status,
        attempt: step.attempt,
        declared: step.position !== null,
      })),
    },
  };
}

/** Versions of a state key go 1..n without a gap, and its head is the last of them. */
const BROKEN_STATE = `select v.scope, v.key from state_versions v
    left join state_heads h using (namespace, scope, key)
    group by v.namespace, v.scope, v.key, h.version, h.deleted
    having count(*) <> max(v.version) or h.version is distinct from max(v.version)
      or h.deleted is distinct from bool_or(v.value is null and v.version = h.version)
    limit 100`;

async function findBrokenState(client: pg.Client): Promise<Violation[]> {
  const { rows } = await client.query<{ scope: string; key: string }>(BROKEN_STATE);
  return rows.map(({ scope, key }) => ({
    invariant: "I9",
    intentId: null,
    message: `the versions of ${JSON.stringify(key)} in ${scope} have a gap, or another head than the last`,
  }));
}

/** Rows that belong to no intent. */
const ORPHANS: readonly (readonly [table: string, column: string, invariant: string])[] = [
  ["intent_data", "id", "I1"],
  ["events", "intent_id", "I2"],
  ["outcomes", "intent_id", "I3"],
  ["steps", "intent_id", "I5"],
  ["leases", "intent_id", "I6"],
  ["ready", "intent_id", "I7"],
  ["timers", "intent_id", "I7"],
  ["idempotency_keys", "intent_id", "I11"],
];
const ORPHANS_SHOWN = 100;

async function findOrphans(client: pg.Client): Promise<Violation[]> {
  const found: Violation[] = [];
  for (const [table, column, invariant] of ORPHANS) {
    const { rows } = await client.query(
      `select distinct t.${column} as id from ${table} t where not exists (select 1 from intents i where i.id = t.${column}) limit ${ORPHANS_SHOWN}`,
    );
    for (const { id } of rows)
      found.push({ invariant, intentId: id, message: `${table} has a row of an intent that does not exist` });
  }
  const { rows } = await client.query(
    `select i.id from intents i where not exists (select 1 from intent_data d where d.id = i.id) limit ${ORPHANS_SHOWN}`,
  );
  for (const { id } of rows) found.push({ invariant: "I1", intentId: id, message: "its payload is missing" });
  return found;
}

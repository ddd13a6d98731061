// Reads a live database and judges every intent in it. Changes nothing and locks nothing; each page is one snapshot.

import pg from "pg";
import { checkStored, type StoredIntent, type StoredStep, type Violation } from "./rules.ts";

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
  // The query under way tells of a connection that breaks; unheard, the event would end the process.
  client.on("error", () => undefined);
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
      for (const one of page.intents) note(checkStored(one));
      checked += page.intents.length;
      options.onProgress?.(checked, Math.max(checked, total));
      if (page.last === null) break;
      after = page.last;
    }
    note(await findStrays(client));
    note(await findBrokenState(client));
    return { checked, violations, count };
  } finally {
    await client.end();
  }
}

interface Page {
  readonly intents: readonly StoredIntent[];
  readonly last: string | null;
}

/** A page ends early when so many events are in it: logs may be long, and all of a page is in memory. */
const PAGE_EVENTS = 50_000;

const ms = (column: string): string => `(extract(epoch from ${column}) * 1000)::float8`;

// The queue is looked into by its key, which does not begin with the intent: what stands elsewhere in it, STRAYS finds.
const INTENTS = `select i.id, i.to_agent as "toAgent", i.intent_type as "intentType", i.status, i.seq, i.first_seq as "firstSeq",
    i.attempt, i.consumer_id as "consumerId", ${ms("i.delivered_at")} as "deliveredAt", i.strikes,
    i.max_delivery_attempts as "maxDeliveryAttempts", i.priority, ${ms("i.queue_at")} as "queueAt",
    ${ms("i.available_at")} as "availableAt", ${ms("i.deadline_at")} as "deadlineAt",
    i.attempt_timeout_ms::float8 as "attemptTimeoutMs", ${ms("i.step_deadline")} as "stepDeadline",
    ${ms("i.wake_at")} as "wakeAt", i.paused,
    i.conducted, ${ms("i.created_at")} as "createdAt",
    i.plan_cursor as "planCursor", i.steps_count as "stepsCount", i.steps_total as "stepsTotal",
    i.steps_done as "stepsDone", i.open_steps as "openSteps", o.status as outcome,
    case when l.intent_id is not null
      then json_build_object('consumerId', l.consumer_id, 'attempt', l.attempt) end as lease,
    coalesce((select json_agg(json_build_object('toAgent', r.to_agent, 'rank', r.rank, 'queueAt', ${ms("r.queue_at")},
        'intentType', r.intent_type)) from ready r
      where (r.to_agent, r.rank, r.queue_at, r.intent_id) = (i.to_agent, -i.priority, i.queue_at, i.id)), '[]') as queue,
    ${ms("t.due_at")} as "timerDueAt", v.intent_id is not null as live
  from (select p.*, sum(p.seq) over (order by p.id) - p.seq as before
    from (select * from intents where $1::uuid is null or id > $1 order by id limit $2) p) i
  left join outcomes o on o.intent_id = i.id
  left join leases l on l.intent_id = i.id
  left join timers t on t.intent_id = i.id
  left join live v on v.intent_id = i.id
  where i.before < $3
  order by i.id`;

// Results stay in the database: digests of their texts are compared, so that no size is too much and no digit is lost.
const EVENTS = `select e.intent_id, e.seq, substr(e.type, 8) as type, e.status, e.attempt,
    json_build_object('key', d.details->>'key', 'decision', d.details->>'decision', 'consumer_id', d.details->>'consumer_id',
      'interrupted', d.details->'interrupted', 'not_run', d.details->'not_run', 'attempts_left_out', d.details->'attempts_left_out', 'paused_by', d.details->'paused_by',
      'name', d.details->>'name', 'signal', d.details->'signal', 'wait', json_build_object('signal', d.details->'wait'->>'signal'),
      'to', d.details->'to', 'max_delivery_attempts', d.details->'max_delivery_attempts', 'kept', d.details->'kept', 'in_doubt', d.details->'in_doubt',
      'error', json_build_object('code', d.details->'error'->>'code'),
      'result', case when e.type = 'intent.step_done' then md5((d.details->'result')::text) end) as details
  from events e
  cross join lateral (select case when e.type in ('intent.delivered', 'intent.released', 'intent.failed', 'intent.unpaused',
      'intent.signaled', 'intent.restored', 'intent.policy_changed', 'intent.redelivery_scheduled')
    or starts_with(e.type, 'intent.step_') then e.details end as details) d
  where e.intent_id = any($1) order by e.intent_id, e.seq`;

const STEPS = `select intent_id, key, position, status, attempt, interrupted, seq, ${ms("started_at")} as "startedAt",
    timeout_ms::float8 as "timeoutMs", md5(result::text) as result
  from steps where intent_id = any($1)`;

type IntentRow = Omit<StoredIntent, "events" | "steps">;
type OfIntent<Row> = Row & { readonly intent_id: string };

async function readPage(client: pg.Client, after: string | null, size: number): Promise<Page> {
  await client.query("begin transaction isolation level repeatable read read only");
  try {
    const { rows } = await client.query<IntentRow>(INTENTS, [after, size, PAGE_EVENTS]);
    const ids = rows.map((row) => row.id);
    const events = await client.query<OfIntent<StoredIntent["events"][number]>>(EVENTS, [ids]);
    const steps = await client.query<OfIntent<StoredStep>>(STEPS, [ids]);
    const eventsOf = group(events.rows);
    const stepsOf = group(steps.rows);
    const intents = rows.map((row) => ({
      ...row,
      events: eventsOf.get(row.id) ?? [],
      steps: stepsOf.get(row.id) ?? [],
    }));
    // A page may have ended early: only an empty one is the end.
    return { intents, last: ids.at(-1) ?? null };
  } finally {
    await client.query("commit");
  }
}

function group<Row>(rows: readonly OfIntent<Row>[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const known = groups.get(row.intent_id);
    if (known === undefined) groups.set(row.intent_id, [row]);
    else known.push(row);
  }
  return groups;
}

/** Versions of a state key go 1..n without a gap, and its head is the last of them. */
const BROKEN_STATE = `select v.scope, v.key from state_versions v
    left join state_heads h using (namespace, scope, key)
    group by v.namespace, v.scope, v.key, h.version, h.deleted
    having (count(*) <> max(v.version) and not exists (select 1 from intents i
        where i.id = case when v.scope like 'intent:%' then substr(v.scope, 8)::uuid end and i.keep_versions is not null))
      or h.version is distinct from max(v.version)
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

/** Rows that belong to no intent; a key of a write that was done for none names none. */
const orphansIn = (table: string, column: string, invariant: string): Stray => ({
  invariant,
  message: `${table} has a row of an intent that does not exist`,
  text: `select distinct t.${column} as id from ${table} t
    where t.${column} is not null and not exists (select 1 from intents i where i.id = t.${column})`,
});

/** What is seen of a whole table at once, better than of one intent after the other. */
interface Stray {
  readonly invariant: string;
  readonly message: string;
  /** Gives the ids of the intents that it is about. */
  readonly text: string;
}

const STRAYS: readonly Stray[] = [
  orphansIn("intent_data", "id", "I1"),
  orphansIn("events", "intent_id", "I2"),
  orphansIn("outcomes", "intent_id", "I3"),
  orphansIn("steps", "intent_id", "I5"),
  orphansIn("leases", "intent_id", "I6"),
  orphansIn("ready", "intent_id", "I7"),
  orphansIn("timers", "intent_id", "I7"),
  orphansIn("live", "intent_id", "I1"),
  orphansIn("idempotency_keys", "intent_id", "I11"),
  orphansIn("signals", "intent_id", "I14"),
  orphansIn("checkpoints", "intent_id", "I2"),
  orphansIn("human_tasks", "intent_id", "I7"),
  {
    invariant: "I14",
    message: "it waits for a signal that is there",
    text: `select i.id from intents i join steps s on s.intent_id = i.id and s.key = any(i.open_steps) and s.status = 'waiting'
      join signals g on g.intent_id = i.id and g.name = s.wait ->> 'signal' and g.taken_by is null where i.status = 'WAITING'`,
  },
  {
    invariant: "I7",
    message: "what it waits for has ended, and nobody will tell it",
    text: `select i.id from intents i join steps s on s.intent_id = i.id and s.key = any(i.open_steps) and s.status = 'waiting'
      where i.status = 'WAITING' and s.wait -> 'intents' is not null
        and not exists (select 1 from json_array_elements_text(s.wait -> 'intents') c
          where not exists (select 1 from outcomes o where o.intent_id = c::uuid))
        and not exists (select 1 from outbox b where b.parent_id = i.id and b.kind = 'child_end')`,
  },
  {
    invariant: "I7",
    message: "it waits for a person whom nobody asks",
    text: `select i.id from intents i join steps s on s.intent_id = i.id and s.key = any(i.open_steps) and s.status = 'waiting'
      where i.status = 'WAITING' and s.wait -> 'human_task' is not null
        and not exists (select 1 from human_tasks t where t.intent_id = i.id and t.step = s.key)`,
  },
  {
    invariant: "I1",
    message: "its payload is missing",
    text: "select i.id from intents i where not exists (select 1 from intent_data d where d.id = i.id)",
  },
  {
    // Nobody can renew such a lease, and no sweeper sees it end.
    invariant: "I6",
    message: "its lease belongs to a consumer that does not exist",
    text: `select l.intent_id as id from leases l
      where not exists (select 1 from consumers c where c.id = l.consumer_id)`,
  },
  {
    invariant: "I7",
    message: "it stands in the queue at a place that is not its own",
    text: `select r.intent_id as id from ready r join intents i on i.id = r.intent_id
      where (r.to_agent, r.rank, r.queue_at) is distinct from (i.to_agent, -i.priority, i.queue_at)`,
  },
];
const STRAYS_SHOWN = 100;

async function findStrays(client: pg.Client): Promise<Violation[]> {
  const found: Violation[] = [];
  for (const { invariant, message, text } of STRAYS) {
    const { rows } = await client.query<{ id: string }>(`${text} limit ${STRAYS_SHOWN}`);
    for (const { id } of rows) found.push({ invariant, intentId: id, message });
  }
  return found;
}

// The statements that write a transaction: one per table, prepared, each taking all of its rows at once as arrays.

import type { Intent } from "../domain/intent.ts";
import { nextDueAt } from "../domain/schedule.ts";
import type { HumanWait } from "../domain/wait.ts";
import {
  type Column,
  EVENT_COLUMNS,
  INTENT_COLUMNS,
  INTENT_DATA_COLUMNS,
  INTENT_RARE_COLUMNS,
  INTENT_WORK_COLUMNS,
  OUTCOME_COLUMNS,
  STEP_KEY_COLUMNS,
  STEP_RARE_COLUMNS,
  STEP_WORK_COLUMNS,
  type StepRow,
} from "./rows.ts";
import type { IdempotencyRecord, NewSignal, NewState, TakenSignal } from "./workspace.ts";

export interface Statement<Row> {
  readonly name: string;
  readonly text: string;
  readonly columns: readonly Column<Row>[];
}

const unnest = <Row>(columns: readonly Column<Row>[]): string =>
  `unnest(${columns.map((c, i) => `$${i + 1}::${c.type}[]`).join(", ")}) as d(${columns.map((c) => c.name).join(", ")})`;

const values = <Row>(columns: readonly Column<Row>[]): string =>
  columns.map((c) => (c.cast === undefined ? `d.${c.name}` : `d.${c.name}::${c.cast}`)).join(", ");

function insert<Row>(
  name: string,
  table: string,
  columns: readonly Column<Row>[],
  tail = "",
): Statement<Row> {
  const text = `insert into ${table} (${columns.map((c) => c.name).join(", ")}) select ${values(columns)} from ${unnest(columns)}${tail}`;
  return { name, text, columns };
}

// Each row is looked up by its key before it goes: an empty queue looks so cheap to read that the planner would begin there, and walk over
// all that was delivered and cannot be vacuumed yet.
function remove<Row>(name: string, table: string, columns: readonly Column<Row>[]): Statement<Row> {
  const match = columns.map((c) => `r.${c.name} = d.${c.name}`).join(" and ");
  const rows = `select x.ctid from ${unnest(columns)} cross join lateral (select r.ctid from ${table} r where ${match} offset 0) x`;
  return { name, text: `delete from ${table} t where t.ctid = any (array(${rows}))`, columns };
}

export const insertIntents = insert("intents_insert", "intents", INTENT_COLUMNS);
export const insertData = insert("data_insert", "intent_data", INTENT_DATA_COLUMNS);
export const insertEvents = insert("events_insert", "events", EVENT_COLUMNS);
export const insertOutcomes = insert("outcomes_insert", "outcomes", OUTCOME_COLUMNS);
const STEP_COLUMNS = [...STEP_KEY_COLUMNS, ...STEP_WORK_COLUMNS, ...STEP_RARE_COLUMNS];
export const upsertSteps = insert(
  "steps_upsert",
  "steps",
  STEP_COLUMNS,
  ` on conflict (intent_id, key) do update set ${[...STEP_WORK_COLUMNS, ...STEP_RARE_COLUMNS]
    .map((c) => `${c.name} = excluded.${c.name}`)
    .join(", ")}`,
);

const assignments = <Row>(columns: readonly Column<Row>[]): string =>
  columns
    .map((c) => `${c.name} = ${c.cast === undefined ? `d.${c.name}` : `d.${c.name}::${c.cast}`}`)
    .join(", ");

/** Of steps that are there, with their plan as it is: an insert that finds its row costs twice as much. */
export const updateSteps: Statement<StepRow> = {
  name: "steps_update",
  columns: [...STEP_KEY_COLUMNS, ...STEP_WORK_COLUMNS],
  text: `with changed as (
      update steps t set ${assignments(STEP_WORK_COLUMNS)} from ${unnest([...STEP_KEY_COLUMNS, ...STEP_WORK_COLUMNS])}
      where t.intent_id = d.intent_id and t.key = d.key returning 1)
    select perdure_expect(count(*), cardinality($1::uuid[]), 'steps') from changed`,
};

export interface IntentUpdate {
  readonly intent: Intent;
  readonly seqBefore: number;
}

// The guard on seq is the second wall behind the row lock: a row that is not as it was read makes the statement
// itself raise, because COMMIT is already on its way behind it.
function intentUpdate(name: string, changing: readonly Column<Intent>[]): Statement<IntentUpdate> {
  const columns: readonly Column<IntentUpdate>[] = [
    { name: "id", type: "uuid", get: (u) => u.intent.id },
    { name: "seq_before", type: "int4", get: (u) => u.seqBefore },
    ...changing.map((c) => ({ ...c, get: (u: IntentUpdate) => c.get(u.intent) })),
  ];
  return {
    name,
    columns,
    text: `with changed as (
      update intents t set ${assignments(changing)}
      from ${unnest(columns)} where t.id = d.id and t.seq = d.seq_before returning 1)
    select perdure_expect(count(*), cardinality($1::uuid[]), 'intents') from changed`,
  };
}

export const updateIntents = intentUpdate("intents_update", [...INTENT_WORK_COLUMNS, ...INTENT_RARE_COLUMNS]);
/** Where nothing else has changed: most of the columns need not be sent. */
export const workOnIntents = intentUpdate("intents_work", INTENT_WORK_COLUMNS);

const POLICY_COLUMNS: readonly Column<Intent>[] = [
  { name: "id", type: "uuid", get: (i) => i.id },
  { name: "patches", type: "int4", get: (i) => i.patches },
  { name: "max_delivery_attempts", type: "int4", get: (i) => i.maxDeliveryAttempts },
  { name: "attempt_timeout_ms", type: "int8", get: (i) => i.attemptTimeoutMs },
  { name: "retry", type: "json", get: (i) => (i.retry === null ? null : JSON.stringify(i.retry)) },
];

/** Beside the update of every change: hardly any change is one of the policy. */
export const updatePolicies: Statement<Intent> = {
  name: "policies_update",
  columns: POLICY_COLUMNS,
  text: `update intents t set ${POLICY_COLUMNS.slice(1)
    .map((c) => `${c.name} = d.${c.name}`)
    .join(", ")} from ${unnest(POLICY_COLUMNS)} where t.id = d.id`,
};

const READY_COLUMNS: readonly Column<Intent>[] = [
  { name: "to_agent", type: "text", get: (i) => i.toAgent },
  { name: "rank", type: "int4", get: (i) => -i.priority },
  { name: "queue_at", type: "timestamptz", get: (i) => i.queueAt },
  { name: "intent_id", type: "uuid", get: (i) => i.id },
];
export const insertReady = insert<Intent>("ready_insert", "ready", [
  ...READY_COLUMNS,
  { name: "intent_type", type: "text", get: (i) => i.intentType },
]);
export const deleteReady = remove("ready_delete", "ready", READY_COLUMNS);

const INTENT_ID: Column<Intent> = { name: "intent_id", type: "uuid", get: (i) => i.id };
export const insertLeases = insert<Intent>(
  "leases_insert",
  "leases",
  [
    INTENT_ID,
    { name: "consumer_id", type: "uuid", get: (i) => i.consumerId },
    { name: "attempt", type: "int4", get: (i) => i.attempt },
  ],
  " on conflict (intent_id) do update set consumer_id = excluded.consumer_id, attempt = excluded.attempt, no = excluded.no",
);
export const deleteLeases = remove("leases_delete", "leases", [INTENT_ID]);
export const upsertTimers = insert<Intent>(
  "timers_upsert",
  "timers",
  [INTENT_ID, { name: "due_at", type: "timestamptz", get: (i) => nextDueAt(i) }],
  " on conflict (intent_id) do update set due_at = excluded.due_at",
);
export const deleteTimers = remove("timers_delete", "timers", [INTENT_ID]);
export const insertLive = insert<Intent>("live_insert", "live", [INTENT_ID]);
export const deleteLive = remove("live_delete", "live", [INTENT_ID]);
export const deleteOutcomes = remove("outcomes_delete", "outcomes", [INTENT_ID]);

export interface StateRow {
  readonly state: NewState;
  readonly at: number;
}

const STATE_KEY: readonly Column<StateRow>[] = [
  { name: "namespace", type: "text", get: ({ state }) => state.namespace },
  { name: "scope", type: "text", get: ({ state }) => state.version.scope },
  { name: "key", type: "text", get: ({ state }) => state.version.key },
  { name: "version", type: "int4", get: ({ state }) => state.version.version },
];
export const insertVersions = insert<StateRow>("state_versions_insert", "state_versions", [
  ...STATE_KEY,
  { name: "value", type: "json", get: ({ state }) => state.version.value?.text ?? null },
  { name: "intent_id", type: "uuid", get: ({ state }) => state.intentId },
  { name: "seq", type: "int4", get: ({ state }) => state.seq },
  { name: "attempt", type: "int4", get: ({ state }) => state.attempt },
  { name: "actor", type: "text", get: ({ state }) => state.actor },
  { name: "at", type: "timestamptz", get: ({ at }) => at },
]);
// The history's key is the guard: two writers of one version cannot both insert it.
export const upsertHeads = insert<StateRow>(
  "state_heads_upsert",
  "state_heads",
  [
    ...STATE_KEY,
    { name: "deleted", type: "bool", get: ({ state }) => state.version.value === null },
    { name: "updated_at", type: "timestamptz", get: ({ at }) => at },
  ],
  ` on conflict (namespace, scope, key) do update set version = excluded.version, deleted = excluded.deleted,
      updated_at = excluded.updated_at`,
);

// Beyond how many are kept: all but what a checkpoint would need to be what it was.
export const pruneVersions: Statement<StateRow> = {
  name: "state_versions_prune",
  columns: [...STATE_KEY, { name: "keep", type: "int4", get: ({ state }) => state.keep }],
  text: `delete from state_versions v using unnest($1::text[], $2::text[], $3::text[], $4::int4[], $5::int4[])
      as d(namespace, scope, key, version, keep)
    where v.namespace = d.namespace and v.scope = d.scope and v.key = d.key and v.version <= d.version - d.keep
      and not exists (select 1 from checkpoints c where c.intent_id = v.intent_id and c.seq >= v.seq
        and not exists (select 1 from state_versions n where n.namespace = v.namespace and n.scope = v.scope
          and n.key = v.key and n.version > v.version and n.seq <= c.seq))`,
};

interface SignalRow {
  readonly signal: NewSignal;
  readonly at: number;
}

export const insertSignals = insert<SignalRow>("signals_insert", "signals", [
  { name: "intent_id", type: "uuid", get: ({ signal }) => signal.intentId },
  { name: "no", type: "int4", get: ({ signal }) => signal.no },
  { name: "name", type: "text", get: ({ signal }) => signal.name },
  { name: "data", type: "json", get: ({ signal }) => signal.data.text },
  { name: "actor", type: "text", get: ({ signal }) => signal.actor },
  { name: "at", type: "timestamptz", get: ({ at }) => at },
  { name: "taken_by", type: "text", get: ({ signal }) => signal.takenBy },
]);

const TAKEN_COLUMNS: readonly Column<TakenSignal>[] = [
  { name: "intent_id", type: "uuid", get: (taken) => taken.intentId },
  { name: "no", type: "int4", get: (taken) => taken.no },
  { name: "taken_by", type: "text", get: (taken) => taken.takenBy },
];
// A signal is taken once (I14): one that somebody took already makes the statement raise.
export const updateTaken: Statement<TakenSignal> = {
  name: "signals_take",
  columns: TAKEN_COLUMNS,
  text: `with changed as (
      update signals t set taken_by = d.taken_by from ${unnest(TAKEN_COLUMNS)}
      where t.intent_id = d.intent_id and t.no = d.no and t.taken_by is null returning 1)
    select perdure_expect(count(*), cardinality($1::uuid[]), 'signals') from changed`,
};

export interface OutboxRow {
  readonly kind: "child_end" | "cascade";
  readonly parentId: string;
  readonly childId: string | null;
}

export const insertOutbox = insert<OutboxRow>("outbox_insert", "outbox", [
  { name: "kind", type: "text", get: (row) => row.kind },
  { name: "parent_id", type: "uuid", get: (row) => row.parentId },
  { name: "child_id", type: "uuid", get: (row) => row.childId },
]);
export const deleteOutbox = remove<number>("outbox_delete", "outbox", [
  { name: "id", type: "int8", get: (id) => id },
]);

export interface TaskRow {
  readonly intent: Intent;
  readonly step: string;
  /** Null for a step in doubt. */
  readonly wait: HumanWait | null;
}

export const insertTasks = insert<TaskRow>(
  "tasks_insert",
  "human_tasks",
  [
    { name: "intent_id", type: "uuid", get: ({ intent }) => intent.id },
    { name: "step", type: "text", get: ({ step }) => step },
    { name: "namespace", type: "text", get: ({ intent }) => intent.namespace },
    {
      name: "assigned_at",
      type: "timestamptz",
      get: ({ intent, wait }) => wait?.assignedAt ?? intent.updatedAt,
    },
    { name: "due_at", type: "timestamptz", get: ({ intent, wait }) => wait?.timeoutAt ?? intent.deadlineAt },
  ],
  " on conflict (intent_id, step) do update set assigned_at = excluded.assigned_at, due_at = excluded.due_at",
);
export const deleteTasks = remove("tasks_delete", "human_tasks", [INTENT_ID]);

export const insertRecords = (at: number): Statement<IdempotencyRecord> =>
  insert<IdempotencyRecord>("idempotency_insert", "idempotency_keys", [
    { name: "namespace", type: "text", get: (r) => r.namespace },
    { name: "sender", type: "text", get: (r) => r.sender },
    { name: "operation", type: "text", get: (r) => r.operation },
    { name: "key", type: "text", get: (r) => r.key },
    { name: "fingerprint", type: "text", get: (r) => r.fingerprint },
    { name: "intent_id", type: "uuid", get: (r) => r.intentId },
    { name: "response", type: "json", get: (r) => r.response.text },
    { name: "created_at", type: "timestamptz", get: () => at },
  ]);

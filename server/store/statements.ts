// The statements that write a transaction: one per table, prepared, each taking all of its rows at once. A few rows are written as
// values, many as arrays, by one and the same text but for where it finds its rows.

import type { Intent } from "../domain/intent.ts";
import { nextDueAt } from "../domain/schedule.ts";
import type { HumanWait } from "../domain/wait.ts";
import { encodeColumn, encodeValue } from "./binary.ts";
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

/** A prepared statement. Its name says for how many rows it is, where that is fixed. */
export interface Form {
  readonly name: string;
  readonly text: string;
}

export interface Statement<Row> {
  readonly columns: readonly Column<Row>[];
  /** For one row, for two …: each value is a parameter. */
  readonly few: readonly Form[];
  /** For any number of rows: each column is one array. */
  readonly many: Form;
}

/** Where the rows of a statement come from: it reads them as `d`. */
interface Rows {
  readonly from: string;
  /** How many there are. */
  readonly count: string;
}

/**
 * Unnesting takes PostgreSQL some 5 µs for each column however few rows there are, and values some 3 µs for each column of each row. Each
 * number of rows is a plan of its own on each connection that writes.
 */
const FEW = 4;

/** Both forms of a statement: they differ in nothing but where its rows come from. */
function statement<Row>(
  name: string,
  columns: readonly Column<Row>[],
  write: (rows: Rows) => string,
): Statement<Row> {
  const few = Array.from({ length: FEW }, (_, index) => ({
    name: `${name}_${index + 1}`,
    text: write(asValues(columns, index + 1)),
  }));
  return { columns, few, many: { name, text: write(asArrays(columns)) } };
}

const rowOf = <Row>(columns: readonly Column<Row>[]): string => `d(${columns.map((c) => c.name).join(", ")})`;

function asArrays<Row>(columns: readonly Column<Row>[]): Rows {
  const arrays = columns.map((c, i) => `$${i + 1}::${c.type}[]`).join(", ");
  return { from: `unnest(${arrays}) as ${rowOf(columns)}`, count: `cardinality($1::${columns[0]?.type}[])` };
}

function asValues<Row>(columns: readonly Column<Row>[], count: number): Rows {
  const row = (number: number) =>
    `(${columns.map((c, i) => `$${number * columns.length + i + 1}::${c.type}`).join(", ")})`;
  const rows = Array.from({ length: count }, (_, number) => row(number)).join(", ");
  return { from: `(values ${rows}) as ${rowOf(columns)}`, count: `${count}` };
}

/** What `rows` are written with: the statement's form for so many, and its parameters. */
export function bind<Row>(
  { columns, few, many }: Statement<Row>,
  rows: readonly Row[],
): Form & { readonly values: (Buffer | null)[] } {
  const form = few[rows.length - 1];
  if (form === undefined)
    return { ...many, values: columns.map(({ type, get }) => encodeColumn(type, rows, get)) };
  const values: (Buffer | null)[] = [];
  for (const row of rows) for (const { type, get } of columns) values.push(encodeValue(type, get(row)));
  return { ...form, values };
}

const readValue = <Row>({ name, cast }: Column<Row>): string =>
  cast === undefined ? `d.${name}` : `d.${name}::${cast}`;

function insert<Row>(
  name: string,
  table: string,
  columns: readonly Column<Row>[],
  tail = "",
): Statement<Row> {
  const names = columns.map((c) => c.name).join(", ");
  const values = columns.map(readValue).join(", ");
  return statement(
    name,
    columns,
    ({ from }) => `insert into ${table} (${names}) select ${values} from ${from}${tail}`,
  );
}

// Each row is looked up by its key before it goes: an empty queue looks so cheap to read that the planner would begin there, and walk over
// all that was delivered and cannot be vacuumed yet.
function remove<Row>(name: string, table: string, columns: readonly Column<Row>[]): Statement<Row> {
  const match = columns.map((c) => `r.${c.name} = d.${c.name}`).join(" and ");
  return statement(
    name,
    columns,
    ({ from }) => `delete from ${table} t where t.ctid = any (array(select x.ctid from ${from}
      cross join lateral (select r.ctid from ${table} r where ${match} offset 0) x))`,
  );
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
  columns.map((c) => `${c.name} = ${readValue(c)}`).join(", ");

/** Every row is there, and as it has to be, or the statement itself raises: COMMIT is already on its way behind it. */
function update<Row>(
  name: string,
  table: string,
  columns: readonly Column<Row>[],
  { set, where }: { readonly set: string; readonly where: string },
): Statement<Row> {
  return statement(
    name,
    columns,
    ({
      from,
      count,
    }) => `with changed as (update ${table} t set ${set} from ${from} where ${where} returning 1)
      select perdure_expect(count(*), ${count}, '${table}') from changed`,
  );
}

/** Of steps that are there, with their plan as it is: an insert that finds its row costs twice as much. */
export const updateSteps = update<StepRow>(
  "steps_update",
  "steps",
  [...STEP_KEY_COLUMNS, ...STEP_WORK_COLUMNS],
  { set: assignments(STEP_WORK_COLUMNS), where: "t.intent_id = d.intent_id and t.key = d.key" },
);

export interface IntentUpdate {
  readonly intent: Intent;
  readonly seqBefore: number;
}

// The guard on seq is the second wall behind the row lock.
function intentUpdate(name: string, changing: readonly Column<Intent>[]): Statement<IntentUpdate> {
  const columns: readonly Column<IntentUpdate>[] = [
    { name: "id", type: "uuid", get: (u) => u.intent.id },
    { name: "seq_before", type: "int4", get: (u) => u.seqBefore },
    ...changing.map((c) => ({ ...c, get: (u: IntentUpdate) => c.get(u.intent) })),
  ];
  return update(name, "intents", columns, {
    set: assignments(changing),
    where: "t.id = d.id and t.seq = d.seq_before",
  });
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
export const updatePolicies = statement<Intent>(
  "policies_update",
  POLICY_COLUMNS,
  ({ from }) => `update intents t set ${assignments(POLICY_COLUMNS.slice(1))} from ${from} where t.id = d.id`,
);

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
export const pruneVersions = statement<StateRow>(
  "state_versions_prune",
  [...STATE_KEY, { name: "keep", type: "int4", get: ({ state }) => state.keep }],
  ({ from }) => `delete from state_versions v using ${from}
    where v.namespace = d.namespace and v.scope = d.scope and v.key = d.key and v.version <= d.version - d.keep
      and not exists (select 1 from checkpoints c where c.intent_id = v.intent_id and c.seq >= v.seq
        and not exists (select 1 from state_versions n where n.namespace = v.namespace and n.scope = v.scope
          and n.key = v.key and n.version > v.version and n.seq <= c.seq))`,
);

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
export const updateTaken = update<TakenSignal>("signals_take", "signals", TAKEN_COLUMNS, {
  set: "taken_by = d.taken_by",
  where: "t.intent_id = d.intent_id and t.no = d.no and t.taken_by is null",
});

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

export interface RecordRow {
  readonly record: IdempotencyRecord;
  readonly at: number;
}

export const insertRecords = insert<RecordRow>("idempotency_insert", "idempotency_keys", [
  { name: "namespace", type: "text", get: ({ record }) => record.namespace },
  { name: "sender", type: "text", get: ({ record }) => record.sender },
  { name: "operation", type: "text", get: ({ record }) => record.operation },
  { name: "key", type: "text", get: ({ record }) => record.key },
  { name: "fingerprint", type: "text", get: ({ record }) => record.fingerprint },
  { name: "intent_id", type: "uuid", get: ({ record }) => record.intentId },
  { name: "response", type: "json", get: ({ record }) => record.response.text },
  { name: "created_at", type: "timestamptz", get: ({ at }) => at },
]);

// Writes a workspace: one prepared statement per table, all pipelined, COMMIT behind them. The queue, the leases
// and the timers are never written by hand: they follow from each intent's state (domain/schedule).

import type { PoolClient } from "pg";
import type { Intent, Step } from "../domain/intent.ts";
import { isTerminal } from "../domain/lifecycle.ts";
import { isClaimable, nextDueAt } from "../domain/schedule.ts";
import { type HumanWait, waitingSteps } from "../domain/wait.ts";
import { encodeArray } from "./binary.ts";
import {
  type Column,
  EVENT_COLUMNS,
  INTENT_CHANGING_COLUMNS,
  INTENT_COLUMNS,
  INTENT_DATA_COLUMNS,
  OUTCOME_COLUMNS,
  type OutcomeRow,
  STEP_COLUMNS,
  type StepRow,
} from "./rows.ts";
import {
  headName,
  type IdempotencyRecord,
  type NewSignal,
  type NewState,
  type TakenSignal,
  type Workspace,
} from "./workspace.ts";

interface Statement<Row> {
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

function remove<Row>(name: string, table: string, columns: readonly Column<Row>[]): Statement<Row> {
  const match = columns.map((c) => `t.${c.name} = d.${c.name}`).join(" and ");
  return { name, text: `delete from ${table} t using ${unnest(columns)} where ${match}`, columns };
}

const insertIntents = insert("intents_insert", "intents", INTENT_COLUMNS);
const insertData = insert("data_insert", "intent_data", INTENT_DATA_COLUMNS);
const insertEvents = insert("events_insert", "events", EVENT_COLUMNS);
const insertOutcomes = insert("outcomes_insert", "outcomes", OUTCOME_COLUMNS);
const upsertSteps = insert(
  "steps_upsert",
  "steps",
  STEP_COLUMNS,
  ` on conflict (intent_id, key) do update set ${STEP_COLUMNS.slice(2)
    .map((c) => `${c.name} = excluded.${c.name}`)
    .join(", ")}`,
);

interface IntentUpdate {
  readonly intent: Intent;
  readonly seqBefore: number;
}

const UPDATE_COLUMNS: readonly Column<IntentUpdate>[] = [
  { name: "id", type: "uuid", get: (u) => u.intent.id },
  { name: "seq_before", type: "int4", get: (u) => u.seqBefore },
  ...INTENT_CHANGING_COLUMNS.map((c) => ({ ...c, get: (u: IntentUpdate) => c.get(u.intent) })),
];

// The guard on seq is the second wall behind the row lock: a row that is not as it was read makes the statement
// itself raise, because COMMIT is already on its way behind it.
const updateIntents: Statement<IntentUpdate> = {
  name: "intents_update",
  columns: UPDATE_COLUMNS,
  text: `with changed as (
      update intents t set ${INTENT_CHANGING_COLUMNS.map((c) => `${c.name} = ${c.cast ? `d.${c.name}::${c.cast}` : `d.${c.name}`}`).join(", ")}
      from ${unnest(UPDATE_COLUMNS)} where t.id = d.id and t.seq = d.seq_before returning 1)
    select perdure_expect(count(*), cardinality($1::uuid[]), 'intents') from changed`,
};

const READY_COLUMNS: readonly Column<Intent>[] = [
  { name: "to_agent", type: "text", get: (i) => i.toAgent },
  { name: "rank", type: "int4", get: (i) => -i.priority },
  { name: "queue_at", type: "timestamptz", get: (i) => i.queueAt },
  { name: "intent_id", type: "uuid", get: (i) => i.id },
];
const insertReady = insert<Intent>("ready_insert", "ready", [
  ...READY_COLUMNS,
  { name: "intent_type", type: "text", get: (i) => i.intentType },
]);
const deleteReady = remove("ready_delete", "ready", READY_COLUMNS);

const INTENT_ID: Column<Intent> = { name: "intent_id", type: "uuid", get: (i) => i.id };
const insertLeases = insert<Intent>(
  "leases_insert",
  "leases",
  [
    INTENT_ID,
    { name: "consumer_id", type: "uuid", get: (i) => i.consumerId },
    { name: "attempt", type: "int4", get: (i) => i.attempt },
  ],
  " on conflict (intent_id) do update set consumer_id = excluded.consumer_id, attempt = excluded.attempt",
);
const deleteLeases = remove("leases_delete", "leases", [INTENT_ID]);
const upsertTimers = insert<Intent>(
  "timers_upsert",
  "timers",
  [INTENT_ID, { name: "due_at", type: "timestamptz", get: (i) => nextDueAt(i) }],
  " on conflict (intent_id) do update set due_at = excluded.due_at",
);
const deleteTimers = remove("timers_delete", "timers", [INTENT_ID]);
const deleteOutcomes = remove("outcomes_delete", "outcomes", [INTENT_ID]);

interface StateRow {
  readonly state: NewState;
  readonly at: number;
}

const STATE_KEY: readonly Column<StateRow>[] = [
  { name: "namespace", type: "text", get: ({ state }) => state.namespace },
  { name: "scope", type: "text", get: ({ state }) => state.version.scope },
  { name: "key", type: "text", get: ({ state }) => state.version.key },
  { name: "version", type: "int4", get: ({ state }) => state.version.version },
];
const insertVersions = insert<StateRow>("state_versions_insert", "state_versions", [
  ...STATE_KEY,
  { name: "value", type: "json", get: ({ state }) => state.version.value?.text ?? null },
  { name: "intent_id", type: "uuid", get: ({ state }) => state.intentId },
  { name: "seq", type: "int4", get: ({ state }) => state.seq },
  { name: "attempt", type: "int4", get: ({ state }) => state.attempt },
  { name: "actor", type: "text", get: ({ state }) => state.actor },
  { name: "at", type: "timestamptz", get: ({ at }) => at },
]);
// The history's key is the guard: two writers of one version cannot both insert it.
const upsertHeads = insert<StateRow>(
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
const pruneVersions: Statement<StateRow> = {
  name: "state_versions_prune",
  columns: [...STATE_KEY, { name: "keep", type: "int4", get: ({ state }) => state.keep }],
  text: `delete from state_versions v using unnest($1::text[], $2::text[], $3::text[], $4::int4[], $5::int4[])
      as d(namespace, scope, key, version, keep)
    where v.namespace = d.namespace and v.scope = d.scope and v.key = d.key and v.version <= d.version - d.keep
      and not exists (select 1 from checkpoints c where c.intent_id = v.intent_id and c.seq >= v.seq
        and not exists (select 1 from state_versions n where n.namespace = v.namespace and n.scope = v.scope
          and n.key = v.key and n.version > v.version and n.seq <= c.seq))`,
};

/** Of several versions of one key in one commit, the last is its head. */
function lastOfEach(rows: readonly StateRow[]): StateRow[] {
  const last = new Map<string, StateRow>();
  for (const row of rows)
    last.set(headName(row.state.namespace, row.state.version.scope, row.state.version.key), row);
  return [...last.values()];
}

interface SignalRow {
  readonly signal: NewSignal;
  readonly at: number;
}

const insertSignals = insert<SignalRow>("signals_insert", "signals", [
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
const updateTaken: Statement<TakenSignal> = {
  name: "signals_take",
  columns: TAKEN_COLUMNS,
  text: `with changed as (
      update signals t set taken_by = d.taken_by from ${unnest(TAKEN_COLUMNS)}
      where t.intent_id = d.intent_id and t.no = d.no and t.taken_by is null returning 1)
    select perdure_expect(count(*), cardinality($1::uuid[]), 'signals') from changed`,
};

interface OutboxRow {
  readonly kind: "child_end" | "cascade";
  readonly parentId: string;
  readonly childId: string | null;
}

const insertOutbox = insert<OutboxRow>("outbox_insert", "outbox", [
  { name: "kind", type: "text", get: (row) => row.kind },
  { name: "parent_id", type: "uuid", get: (row) => row.parentId },
  { name: "child_id", type: "uuid", get: (row) => row.childId },
]);
const deleteOutbox = remove<number>("outbox_delete", "outbox", [
  { name: "id", type: "int8", get: (id) => id },
]);

interface TaskRow {
  readonly intent: Intent;
  readonly step: string;
  readonly wait: HumanWait;
}

const insertTasks = insert<TaskRow>(
  "tasks_insert",
  "human_tasks",
  [
    { name: "intent_id", type: "uuid", get: ({ intent }) => intent.id },
    { name: "step", type: "text", get: ({ step }) => step },
    { name: "namespace", type: "text", get: ({ intent }) => intent.namespace },
    { name: "assigned_at", type: "timestamptz", get: ({ wait }) => wait.assignedAt },
    { name: "due_at", type: "timestamptz", get: ({ wait }) => wait.timeoutAt },
  ],
  " on conflict (intent_id, step) do update set assigned_at = excluded.assigned_at, due_at = excluded.due_at",
);
const deleteTasks = remove("tasks_delete", "human_tasks", [INTENT_ID]);

const isEnded = (intent: Intent | null): boolean => intent !== null && isTerminal(intent.status);

/** What an end owes to others: its parent is told, and its children end with it (W3). */
function owed(before: Intent | null, { id, status, parentId, hasChildren }: Intent): OutboxRow[] {
  if (isEnded(before) || !isTerminal(status)) return [];
  const rows: OutboxRow[] = [];
  if (parentId !== null) rows.push({ kind: "child_end", parentId, childId: id });
  if (hasChildren && (status === "CANCELED" || status === "TIMED_OUT"))
    rows.push({ kind: "cascade", parentId: id, childId: null });
  return rows;
}

const insertRecords = (at: number): Statement<IdempotencyRecord> =>
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

function send<Row>(
  client: PoolClient,
  sent: Promise<unknown>[],
  statement: Statement<Row>,
  rows: readonly Row[],
): void {
  if (rows.length === 0) return;
  const parameters = statement.columns.map((column) => encodeArray(column.type, rows.map(column.get)));
  sent.push(client.query({ name: statement.name, text: statement.text, values: parameters }));
}

interface Written {
  readonly inserted: Intent[];
  readonly updated: IntentUpdate[];
  readonly steps: StepRow[];
  readonly outcomes: OutcomeRow[];
  readonly outcomesGone: Intent[];
  readonly readyIn: Intent[];
  readonly readyOut: Intent[];
  readonly leased: Intent[];
  readonly unleased: Intent[];
  readonly timersIn: Intent[];
  readonly timersOut: Intent[];
  readonly outbox: OutboxRow[];
  readonly tasksIn: TaskRow[];
  readonly tasksOut: Intent[];
}

/** What each touched intent means for each table. */
function collect(work: Workspace): Written {
  const w: Written = {
    inserted: [],
    updated: [],
    steps: [],
    outcomes: [],
    outcomesGone: [],
    readyIn: [],
    readyOut: [],
    leased: [],
    unleased: [],
    timersIn: [],
    timersOut: [],
    outbox: [],
    tasksIn: [],
    tasksOut: [],
  };
  const changed = new Set<string>();
  for (const { before, intent, steps, changedSteps, outcome, outcomeGone } of work.touched()) {
    changed.add(intent.id);
    if (before === null) w.inserted.push(intent);
    else w.updated.push({ intent, seqBefore: before.seq });
    for (const key of changedSteps) {
      const step = steps.get(key);
      if (step !== undefined) w.steps.push({ intentId: intent.id, step });
    }
    if (outcomeGone) w.outcomesGone.push(intent);
    if (outcome !== null && outcome !== undefined) {
      const expiresAt = intent.retainMs === null ? null : work.now + intent.retainMs;
      w.outcomes.push({ intentId: intent.id, namespace: intent.namespace, outcome, at: work.now, expiresAt });
    }
    w.outbox.push(...owed(before, intent));
    compareQueue(w, before, intent);
    compareLease(w, before, intent);
    compareTimer(w, before, intent);
    compareTasks(w, before, intent, steps);
  }
  for (const id of work.timersReset) {
    const intent = work.peek(id)?.intent;
    // A changed intent's timer is written already.
    if (intent === undefined || changed.has(id)) continue;
    if (nextDueAt(intent) === null) w.timersOut.push(intent);
    else w.timersIn.push(intent);
  }
  return w;
}

function compareQueue(w: Written, before: Intent | null, after: Intent): void {
  const was = before !== null && isClaimable(before);
  const is = isClaimable(after);
  const moved = was && is && before.queueAt !== after.queueAt;
  if (was && (!is || moved)) w.readyOut.push(before);
  if (is && (!was || moved)) w.readyIn.push(after);
}

function compareLease(w: Written, before: Intent | null, after: Intent): void {
  const old = before?.consumerId ?? null;
  if (after.consumerId === null) {
    if (old !== null) w.unleased.push(after);
  } else if (old !== after.consumerId || before?.attempt !== after.attempt) w.leased.push(after);
}

function compareTimer(w: Written, before: Intent | null, after: Intent): void {
  const old = before === null ? null : nextDueAt(before);
  const due = nextDueAt(after);
  if (due === old) return;
  if (due === null) w.timersOut.push(after);
  else w.timersIn.push(after);
}

const asksPerson = (intent: Intent | null): boolean => intent?.waitingReason === "WAITING_FOR_HUMAN";

/** What a person is asked follows from what the intent waits for. */
function compareTasks(
  w: Written,
  before: Intent | null,
  after: Intent,
  steps: ReadonlyMap<string, Step>,
): void {
  const same =
    asksPerson(before) && asksPerson(after) && before?.openSteps.join("\n") === after.openSteps.join("\n");
  if (same) return;
  if (asksPerson(before)) w.tasksOut.push(after);
  if (!asksPerson(after)) return;
  for (const { key, wait } of waitingSteps(after, steps))
    if (wait.kind === "human") w.tasksIn.push({ intent: after, step: key, wait });
}

/** Sends every write of the workspace without waiting; the caller sends COMMIT behind and awaits all of it. */
export function sendWrites(client: PoolClient, work: Workspace): Promise<unknown>[] {
  const sent: Promise<unknown>[] = [];
  const w = collect(work);
  send(client, sent, insertIntents, w.inserted);
  send(
    client,
    sent,
    insertData,
    work.newData.map((data) => ({ data, at: work.now })),
  );
  send(client, sent, updateIntents, w.updated);
  send(client, sent, insertEvents, work.events);
  send(client, sent, upsertSteps, w.steps);
  send(client, sent, deleteOutcomes, w.outcomesGone);
  send(client, sent, insertOutcomes, w.outcomes);
  send(client, sent, deleteReady, w.readyOut);
  send(client, sent, insertReady, w.readyIn);
  send(client, sent, deleteLeases, w.unleased);
  send(client, sent, insertLeases, w.leased);
  send(client, sent, deleteTimers, w.timersOut);
  send(client, sent, upsertTimers, w.timersIn);
  const state = work.newState.map((one) => ({ state: one, at: work.now }));
  send(client, sent, insertVersions, state);
  const last = lastOfEach(state);
  send(client, sent, upsertHeads, last);
  send(
    client,
    sent,
    pruneVersions,
    last.filter((row) => row.state.keep !== null),
  );
  const signals = work.newSignals.map((signal) => ({ signal, at: work.now }));
  send(client, sent, insertSignals, signals);
  send(client, sent, updateTaken, work.takenSignals);
  send(client, sent, deleteTasks, w.tasksOut);
  send(client, sent, insertTasks, w.tasksIn);
  send(client, sent, insertOutbox, w.outbox);
  send(client, sent, deleteOutbox, work.workedOff);
  send(client, sent, insertRecords(work.now), work.newRecords);
  return sent;
}

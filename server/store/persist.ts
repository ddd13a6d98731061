// Writes a workspace: one prepared statement per table, all pipelined, COMMIT behind them. The queue, the leases
// and the timers are never written by hand: they follow from each intent's state (domain/schedule).

import type { PoolClient } from "pg";
import type { Intent } from "../domain/intent.ts";
import { isClaimable, nextDueAt } from "../domain/schedule.ts";
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
import { headName, type IdempotencyRecord, type NewState, type Workspace } from "./workspace.ts";

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

/** Of several versions of one key in one commit, the last is its head. */
function lastOfEach(rows: readonly StateRow[]): StateRow[] {
  const last = new Map<string, StateRow>();
  for (const row of rows)
    last.set(headName(row.state.namespace, row.state.version.scope, row.state.version.key), row);
  return [...last.values()];
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
    if (outcome !== null && outcome !== undefined)
      w.outcomes.push({ intentId: intent.id, namespace: intent.namespace, outcome, at: work.now });
    compareQueue(w, before, intent);
    compareLease(w, before, intent);
    compareTimer(w, before, intent);
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
  send(client, sent, upsertHeads, lastOfEach(state));
  send(client, sent, insertRecords(work.now), work.newRecords);
  return sent;
}

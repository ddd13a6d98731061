// Writes a workspace: what each touched intent means for each table, all statements pipelined, COMMIT behind them. The queue,
// the leases, the timers, people's tasks and the outbox are never written by hand: they follow from each intent's state.

import type { PoolClient } from "pg";
import { type EventType, TERMINAL_EVENTS } from "../domain/event.ts";
import type { Intent, Step } from "../domain/intent.ts";
import { isTerminal, type Status } from "../domain/lifecycle.ts";
import { isClaimable, nextDueAt } from "../domain/schedule.ts";
import { waitingSteps } from "../domain/wait.ts";
import {
  type Column,
  INTENT_RARE_COLUMNS,
  type OutcomeRow,
  STEP_RARE_COLUMNS,
  type StepRow,
} from "./rows.ts";
import {
  bind,
  deleteLeases,
  deleteLive,
  deleteOutbox,
  deleteOutcomes,
  deleteReady,
  deleteTasks,
  deleteTimers,
  type IntentUpdate,
  insertData,
  insertEvents,
  insertIntents,
  insertLeases,
  insertLive,
  insertOutbox,
  insertOutcomes,
  insertReady,
  insertRecords,
  insertSignals,
  insertTasks,
  insertVersions,
  type OutboxRow,
  pruneVersions,
  type Statement,
  type StateRow,
  type TaskRow,
  updateIntents,
  updatePolicies,
  updateSteps,
  updateTaken,
  upsertHeads,
  upsertSteps,
  upsertTimers,
  workOnIntents,
} from "./statements.ts";
import { headName, type Workspace } from "./workspace.ts";

/** Of several versions of one key in one commit, the last is its head. */
function lastOfEach(rows: readonly StateRow[]): StateRow[] {
  const last = new Map<string, StateRow>();
  for (const row of rows)
    last.set(headName(row.state.namespace, row.state.version.scope, row.state.version.key), row);
  return [...last.values()];
}

/** What an end owes to others, also one that was reopened in the same commit: its parent is told, and its children end with it (W3). */
function owed({ id, parentId, hasChildren }: Intent, ends: readonly Status[]): OutboxRow[] {
  if (ends.length === 0) return [];
  const rows: OutboxRow[] = [];
  if (parentId !== null) rows.push({ kind: "child_end", parentId, childId: id });
  if (hasChildren && ends.some((status) => status === "CANCELED" || status === "TIMED_OUT"))
    rows.push({ kind: "cascade", parentId: id, childId: null });
  return rows;
}

const isEnded = (intent: Intent | null): boolean => intent !== null && isTerminal(intent.status);

/** How each intent ended in this commit. */
function endsIn(work: Workspace): Map<string, Status[]> {
  const ends = new Map<string, Status[]>();
  for (const { intentId, type, status } of work.events)
    if (ENDINGS.has(type)) ends.set(intentId, [...(ends.get(intentId) ?? []), status]);
  return ends;
}

const ENDINGS: ReadonlySet<EventType> = new Set(Object.values(TERMINAL_EVENTS));

function send<Row>(
  client: PoolClient,
  sent: Promise<unknown>[],
  statement: Statement<Row>,
  rows: readonly Row[],
): void {
  if (rows.length === 0) return;
  sent.push(client.query(bind(statement, rows)));
}

interface Written {
  readonly inserted: Intent[];
  readonly updated: IntentUpdate[];
  readonly workedOn: IntentUpdate[];
  readonly patched: Intent[];
  readonly steps: StepRow[];
  readonly stepsWorkedOn: StepRow[];
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
  readonly liveIn: Intent[];
  readonly liveOut: Intent[];
}

/** What each touched intent means for each table. */
function collect(work: Workspace): Written {
  const w: Written = {
    inserted: [],
    updated: [],
    workedOn: [],
    patched: [],
    steps: [],
    stepsWorkedOn: [],
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
    liveIn: [],
    liveOut: [],
  };
  const changed = new Set<string>();
  const ends = endsIn(work);
  for (const { before, intent, steps, storedSteps, changedSteps, outcome } of work.touched()) {
    changed.add(intent.id);
    if (before === null) w.inserted.push(intent);
    else {
      const update = { intent, seqBefore: before.seq };
      if (areSame(INTENT_RARE_COLUMNS, before, intent)) w.workedOn.push(update);
      else w.updated.push(update);
    }
    if (before !== null && before.patches !== intent.patches) w.patched.push(intent);
    for (const key of changedSteps) {
      const step = steps.get(key);
      if (step !== undefined) collectStep(w, intent.id, step, storedSteps.get(key));
    }
    // What is stored has to go, also when another end comes after it in this commit.
    if (outcome !== undefined && isEnded(before)) w.outcomesGone.push(intent);
    if (outcome !== null && outcome !== undefined) {
      const expiresAt = intent.retainMs === null ? null : work.now + intent.retainMs;
      w.outcomes.push({ intentId: intent.id, namespace: intent.namespace, outcome, at: work.now, expiresAt });
    }
    w.outbox.push(...owed(intent, ends.get(intent.id) ?? []));
    compareLife(w, before, intent);
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

function areSame<Row>(columns: readonly Column<Row>[], before: Row, after: Row): boolean {
  return columns.every(({ get }) => get(before) === get(after));
}

function collectStep(w: Written, intentId: string, step: Step, stored: Step | undefined): void {
  const row = { intentId, step };
  const isThere = stored !== undefined && areSame(STEP_RARE_COLUMNS, { intentId, step: stored }, row);
  if (isThere) w.stepsWorkedOn.push(row);
  else w.steps.push(row);
}

function compareLife(w: Written, before: Intent | null, after: Intent): void {
  const was = before !== null && !isTerminal(before.status);
  const is = !isTerminal(after.status);
  if (is && !was) w.liveIn.push(after);
  if (was && !is) w.liveOut.push(after);
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
  const waits = new Map(waitingSteps(after, steps).map(({ key, wait }) => [key, wait]));
  for (const step of after.openSteps) {
    const wait = waits.get(step);
    if (wait === undefined || wait.kind === "human")
      w.tasksIn.push({ intent: after, step, wait: wait ?? null });
  }
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
  send(client, sent, workOnIntents, w.workedOn);
  send(client, sent, updatePolicies, w.patched);
  send(client, sent, insertEvents, work.events);
  send(client, sent, upsertSteps, w.steps);
  send(client, sent, updateSteps, w.stepsWorkedOn);
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
  send(client, sent, deleteLive, w.liveOut);
  send(client, sent, insertLive, w.liveIn);
  send(client, sent, insertOutbox, w.outbox);
  send(client, sent, deleteOutbox, work.workedOff);
  const records = work.newRecords.map((record) => ({ record, at: work.now }));
  send(client, sent, insertRecords, records);
  return sent;
}

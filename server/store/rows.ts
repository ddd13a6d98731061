// Converts rows to what the domain decides on, and back: the one place where snake_case becomes camelCase.

import type { IntentEvent } from "../domain/event.ts";
import type { Intent, IntentData, Outcome, RetryPolicy, Step } from "../domain/intent.ts";
import { encodeJson, RawJson } from "../domain/raw-json.ts";
import { waitFromJson, waitToJson } from "../domain/wait-json.ts";
import { type PgType, textArrayLiteral } from "./binary.ts";
import type { IntentsTable, StepsTable } from "./database.ts";

export const rawOrNull = (text: string | null): RawJson | null => (text === null ? null : new RawJson(text));
const policyOrNull = (text: string | null): RetryPolicy | null => (text === null ? null : JSON.parse(text));

type IntentRow = {
  [K in keyof IntentsTable]: IntentsTable[K] extends { __select__: infer S } ? S : IntentsTable[K];
};

export function toIntent(row: Omit<IntentRow, "first_seq">): Intent {
  return {
    id: row.id,
    namespace: row.namespace,
    toAgent: row.to_agent,
    sentBy: row.sent_by,
    intentType: row.intent_type,
    status: row.status,
    waitingReason: row.waiting_reason,
    seq: row.seq,
    attempt: row.attempt,
    generation: row.generation,
    patches: row.patches,
    conducted: row.conducted,
    consumerId: row.consumer_id,
    windowed: row.windowed,
    started: row.started,
    deliveredAt: row.delivered_at,
    strikes: row.strikes,
    totalLosses: row.total_losses,
    retriesUsed: row.retries_used,
    releases: row.releases,
    priority: row.priority,
    queueAt: row.queue_at,
    availableAt: row.available_at,
    deadlineAt: row.deadline_at,
    paused: row.paused,
    pausedBy: row.paused_by,
    wakeAt: row.wake_at,
    parentId: row.parent_id,
    hasChildren: row.has_children,
    keepVersions: row.keep_versions,
    retainMs: row.retain_ms,
    planBy: row.plan_by,
    planCursor: row.plan_cursor,
    stepsCount: row.steps_count,
    stepsTotal: row.steps_total,
    stepsDone: row.steps_done,
    openSteps: row.open_steps,
    resultsBytes: row.results_bytes,
    stepDeadline: row.step_deadline,
    refusedAttempt: row.refused_attempt,
    terminalDigest: row.terminal_digest,
    maxDeliveryAttempts: row.max_delivery_attempts,
    attemptTimeoutMs: row.attempt_timeout_ms,
    onInterrupt: row.on_interrupt,
    retry: policyOrNull(row.retry),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export function toStep(row: Omit<StepsTable, "intent_id">): Step {
  return {
    key: row.key,
    position: row.position,
    title: row.title,
    status: row.status,
    generation: row.generation,
    attempt: row.attempt,
    tries: row.tries,
    interrupted: row.interrupted,
    onInterrupt: row.on_interrupt,
    timeoutMs: row.timeout_ms,
    retry: policyOrNull(row.retry),
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    seq: row.seq,
    input: rawOrNull(row.input),
    result: rawOrNull(row.result),
    error: rawOrNull(row.error),
    wait: row.wait === null ? null : waitFromJson(JSON.parse(row.wait)),
  };
}

/** A column of a batched statement: its type on the wire and where its value comes from. */
export interface Column<Row> {
  readonly name: string;
  readonly type: PgType;
  /** Applied to the unnested value, for types that cannot be an array element as they are. */
  readonly cast?: string;
  readonly get: (row: Row) => unknown;
}

const json = (value: unknown): string | null =>
  value === null || value === undefined ? null : encodeJson(value);

const INTENT_KEY_COLUMNS: readonly Column<Intent>[] = [{ name: "id", type: "uuid", get: (i) => i.id }];

/** Written at creation; what a policy says of them can be changed, by a statement of its own. */
const INTENT_FIXED_COLUMNS: readonly Column<Intent>[] = [
  { name: "namespace", type: "text", get: (i) => i.namespace },
  { name: "to_agent", type: "text", get: (i) => i.toAgent },
  { name: "sent_by", type: "text", get: (i) => i.sentBy },
  { name: "intent_type", type: "text", get: (i) => i.intentType },
  { name: "priority", type: "int4", get: (i) => i.priority },
  { name: "max_delivery_attempts", type: "int4", get: (i) => i.maxDeliveryAttempts },
  { name: "attempt_timeout_ms", type: "int8", get: (i) => i.attemptTimeoutMs },
  { name: "on_interrupt", type: "text", get: (i) => i.onInterrupt },
  { name: "retry", type: "json", get: (i) => json(i.retry) },
  { name: "parent_id", type: "uuid", get: (i) => i.parentId },
  { name: "keep_versions", type: "int4", get: (i) => i.keepVersions },
  { name: "retain_ms", type: "int8", get: (i) => i.retainMs },
  { name: "patches", type: "int4", get: (i) => i.patches },
  { name: "conducted", type: "bool", get: (i) => i.conducted },
  { name: "created_at", type: "timestamptz", get: (i) => i.createdAt },
];

/** What changes as an intent is delivered and worked on: nearly every change is one of these alone. */
export const INTENT_WORK_COLUMNS: readonly Column<Intent>[] = [
  { name: "status", type: "text", get: (i) => i.status },
  { name: "waiting_reason", type: "text", get: (i) => i.waitingReason },
  { name: "seq", type: "int4", get: (i) => i.seq },
  { name: "attempt", type: "int4", get: (i) => i.attempt },
  { name: "consumer_id", type: "uuid", get: (i) => i.consumerId },
  { name: "started", type: "bool", get: (i) => i.started },
  { name: "delivered_at", type: "timestamptz", get: (i) => i.deliveredAt },
  { name: "strikes", type: "int4", get: (i) => i.strikes },
  { name: "plan_by", type: "text", get: (i) => i.planBy },
  { name: "plan_cursor", type: "int4", get: (i) => i.planCursor },
  { name: "steps_count", type: "int4", get: (i) => i.stepsCount },
  { name: "steps_total", type: "int4", get: (i) => i.stepsTotal },
  { name: "steps_done", type: "int4", get: (i) => i.stepsDone },
  { name: "open_steps", type: "text", cast: "text[]", get: (i) => textArrayLiteral(i.openSteps) },
  { name: "results_bytes", type: "int4", get: (i) => i.resultsBytes },
  { name: "step_deadline", type: "timestamptz", get: (i) => i.stepDeadline },
  { name: "terminal_digest", type: "text", get: (i) => i.terminalDigest },
  { name: "updated_at", type: "timestamptz", get: (i) => i.updatedAt },
];

/** What changes when something out of the ordinary happens. */
export const INTENT_RARE_COLUMNS: readonly Column<Intent>[] = [
  { name: "generation", type: "int4", get: (i) => i.generation },
  { name: "windowed", type: "bool", get: (i) => i.windowed },
  { name: "total_losses", type: "int4", get: (i) => i.totalLosses },
  { name: "retries_used", type: "int4", get: (i) => i.retriesUsed },
  { name: "releases", type: "int4", get: (i) => i.releases },
  { name: "queue_at", type: "timestamptz", get: (i) => i.queueAt },
  { name: "available_at", type: "timestamptz", get: (i) => i.availableAt },
  { name: "deadline_at", type: "timestamptz", get: (i) => i.deadlineAt },
  { name: "paused", type: "bool", get: (i) => i.paused },
  { name: "paused_by", type: "text", cast: "text[]", get: (i) => textArrayLiteral(i.pausedBy) },
  { name: "wake_at", type: "timestamptz", get: (i) => i.wakeAt },
  { name: "has_children", type: "bool", get: (i) => i.hasChildren },
  { name: "refused_attempt", type: "int4", get: (i) => i.refusedAttempt },
];

export const INTENT_COLUMNS: readonly Column<Intent>[] = [
  ...INTENT_KEY_COLUMNS,
  ...INTENT_FIXED_COLUMNS,
  ...INTENT_WORK_COLUMNS,
  ...INTENT_RARE_COLUMNS,
];

export interface IntentDataRow {
  readonly data: IntentData;
  readonly at: number;
}

export const INTENT_DATA_COLUMNS: readonly Column<IntentDataRow>[] = [
  { name: "id", type: "uuid", get: ({ data }) => data.id },
  { name: "namespace", type: "text", get: ({ data }) => data.namespace },
  { name: "from_agent", type: "text", get: ({ data }) => data.fromAgent },
  { name: "to_agent", type: "text", get: ({ data }) => data.toAgent },
  { name: "to_agent_as_sent", type: "text", get: ({ data }) => data.toAgentAsSent },
  { name: "intent_type", type: "text", get: ({ data }) => data.intentType },
  { name: "payload", type: "json", get: ({ data }) => data.payload.text },
  { name: "metadata", type: "jsonb", get: ({ data }) => JSON.stringify(data.metadata) },
  { name: "correlation_id", type: "text", get: ({ data }) => data.correlationId },
  { name: "session", type: "text", get: ({ data }) => data.session },
  { name: "session_namespace", type: "text", get: ({ data }) => data.sessionNamespace },
  { name: "parent_intent_id", type: "uuid", get: ({ data }) => data.parentIntentId },
  { name: "parent_step", type: "text", get: ({ data }) => data.parentStep },
  { name: "detached", type: "bool", get: ({ data }) => data.detached },
  { name: "reply_to", type: "text", get: ({ data }) => data.replyTo },
  { name: "reply_to_address", type: "text", get: ({ data }) => data.replyToAddress },
  { name: "scenario", type: "json", get: ({ data }) => data.scenario?.text ?? null },
  { name: "retention", type: "json", get: ({ data }) => data.retention?.text ?? null },
  { name: "traceparent", type: "text", get: ({ data }) => data.traceparent },
  { name: "created_at", type: "timestamptz", get: ({ at }) => at },
];

export const EVENT_COLUMNS: readonly Column<IntentEvent>[] = [
  { name: "intent_id", type: "uuid", get: (e) => e.intentId },
  { name: "seq", type: "int4", get: (e) => e.seq },
  { name: "namespace", type: "text", get: (e) => e.namespace },
  { name: "type", type: "text", get: (e) => e.type },
  { name: "status", type: "text", get: (e) => e.status },
  { name: "waiting_reason", type: "text", get: (e) => e.waitingReason },
  { name: "attempt", type: "int4", get: (e) => e.attempt },
  { name: "actor", type: "text", get: (e) => e.actor },
  { name: "at", type: "timestamptz", get: (e) => e.at },
  { name: "details", type: "json", get: (e) => json(e.details) },
];

export interface StepRow {
  readonly intentId: string;
  readonly step: Step;
}

export const STEP_KEY_COLUMNS: readonly Column<StepRow>[] = [
  { name: "intent_id", type: "uuid", get: (r) => r.intentId },
  { name: "key", type: "text", get: (r) => r.step.key },
];

/** What changes as a step begins and ends. */
export const STEP_WORK_COLUMNS: readonly Column<StepRow>[] = [
  { name: "status", type: "text", get: (r) => r.step.status },
  { name: "attempt", type: "int4", get: (r) => r.step.attempt },
  { name: "tries", type: "int4", get: (r) => r.step.tries },
  { name: "interrupted", type: "bool", get: (r) => r.step.interrupted },
  { name: "started_at", type: "timestamptz", get: (r) => r.step.startedAt },
  { name: "finished_at", type: "timestamptz", get: (r) => r.step.finishedAt },
  { name: "seq", type: "int4", get: (r) => r.step.seq },
  { name: "input", type: "json", get: (r) => r.step.input?.text ?? null },
  { name: "result", type: "json", get: (r) => r.step.result?.text ?? null },
  { name: "error", type: "json", get: (r) => r.step.error?.text ?? null },
];

/** What its plan says of it, and what it waits for. */
export const STEP_RARE_COLUMNS: readonly Column<StepRow>[] = [
  { name: "position", type: "int4", get: (r) => r.step.position },
  { name: "title", type: "text", get: (r) => r.step.title },
  { name: "generation", type: "int4", get: (r) => r.step.generation },
  { name: "on_interrupt", type: "text", get: (r) => r.step.onInterrupt },
  { name: "timeout_ms", type: "int8", get: (r) => r.step.timeoutMs },
  { name: "retry", type: "json", get: (r) => json(r.step.retry) },
  { name: "wait", type: "json", get: (r) => (r.step.wait === null ? null : json(waitToJson(r.step.wait))) },
];

export interface OutcomeRow {
  readonly intentId: string;
  readonly namespace: string;
  readonly outcome: Outcome;
  readonly at: number;
  /** When it may go; null: by the server's default. */
  readonly expiresAt: number | null;
}

export const OUTCOME_COLUMNS: readonly Column<OutcomeRow>[] = [
  { name: "intent_id", type: "uuid", get: (r) => r.intentId },
  { name: "namespace", type: "text", get: (r) => r.namespace },
  { name: "status", type: "text", get: (r) => r.outcome.status },
  { name: "code", type: "text", get: (r) => r.outcome.code },
  { name: "result", type: "json", get: (r) => r.outcome.result?.text ?? null },
  { name: "error", type: "json", get: (r) => json(r.outcome.error) },
  { name: "attempt", type: "int4", get: (r) => r.outcome.attempt },
  { name: "finished_at", type: "timestamptz", get: (r) => r.at },
  { name: "expires_at", type: "timestamptz", get: (r) => r.expiresAt },
];

// The wire shapes of intents, steps, events and deliveries: the one place where camelCase becomes snake_case.

import { formatAddress } from "../domain/address.ts";
import type { IntentEvent } from "../domain/event.ts";
import type { FoldedStep } from "../domain/fold.ts";
import type { Intent, RetryPolicy, Step } from "../domain/intent.ts";
import { isTerminal, type TerminalStatus } from "../domain/lifecycle.ts";
import { describeNext, isUndone, type NextStep, stepIdempotencyKey } from "../domain/plan.ts";
import { policyGeneration } from "../domain/policy.ts";
import { RawJson } from "../domain/raw-json.ts";
import { waitToJson } from "../domain/wait-json.ts";
import type { IntentRecord } from "../store/queries/intents.ts";
import type { Pending } from "../store/queries/pending.ts";

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

export interface IntentViewOptions {
  readonly payload?: boolean;
}

export function intentView(record: IntentRecord, options: IntentViewOptions = {}) {
  const { intent, data, outcome } = record;
  return {
    intent_id: intent.id,
    status: intent.status,
    lifecycle_status: intent.status,
    lifecycle_waiting_reason: intent.waitingReason,
    created_at: iso(intent.createdAt),
    updated_at: iso(intent.updatedAt),
    intent_type: intent.intentType,
    correlation_id: data.correlationId,
    from_agent: data.fromAgent,
    to_agent: data.toAgentAsSent,
    address: formatAddress(intent.toAgent),
    ...(options.payload === false ? {} : { payload: data.payload }),
    result: outcome?.result ?? null,
    error: outcome?.error ?? null,
    seq: intent.seq,
    attempt: intent.attempt,
    delivery_attempt: intent.attempt,
    lost_deliveries: intent.strikes,
    max_delivery_attempts: intent.maxDeliveryAttempts,
    priority: intent.priority,
    deliver_at: intent.availableAt === null ? undefined : iso(intent.availableAt),
    deadline_at: iso(intent.deadlineAt),
    policy_generation: policyGeneration(intent),
    paused: intent.paused,
    ...(intent.paused ? { paused_by: intent.pausedBy } : {}),
    session: data.session,
    parent_intent_id: data.parentIntentId,
    ...(data.parentStep === null ? {} : { parent_step: data.parentStep }),
    reply_to: data.replyTo,
    metadata: data.metadata,
    plan_by: intent.planBy,
    progress: progressView(intent),
  };
}

/** How an intent ended, for whoever waits for it. */
export function outcomeView(
  ending: {
    readonly id: string;
    readonly seq: number;
    readonly status: TerminalStatus;
    readonly result: RawJson | null;
    readonly error: unknown;
  },
  mark: number,
) {
  const { id, seq, status, result, error } = ending;
  return { intent_id: id, status, result, error, seq, mark };
}

/** What became of an end for whoever wants to know of it: it appears in the inbox of `reply_to`. */
export function completionView({ intent, data }: IntentRecord) {
  if (data.replyTo === null) return { delivered: false, reason: "reply_to_not_set" };
  if (!isTerminal(intent.status)) return { delivered: false, reply_to: data.replyTo, reason: "not_ended" };
  return { delivered: true, reply_to: data.replyTo, thread_id: intent.id };
}

/** The policy is another than the caller saw: nothing happened, and this is the one that counts. */
export const staleAnswer = (intent: Intent) => ({
  ok: true,
  applied: false,
  reason: "stale_policy_generation",
  policy_generation: policyGeneration(intent),
});

/** With whom it waits. */
export function pendingView(pending: Pending | undefined) {
  if (pending === undefined) return {};
  const { kind, name, task, dueAt } = pending;
  return {
    pending_with: { type: kind, name, ref: name },
    ...(task === null ? {} : { human_task: task }),
    ...(dueAt === null ? {} : { due_at: iso(dueAt) }),
  };
}

export function progressView(intent: Intent) {
  return {
    done: intent.stepsDone,
    ...(intent.planBy === null ? {} : { total: intent.stepsTotal }),
    ...(intent.openSteps.length === 0 ? {} : { current: intent.openSteps[0] }),
  };
}

function retryView(retry: RetryPolicy) {
  return {
    max_retries: retry.maxRetries,
    initial_delay_ms: retry.initialDelayMs,
    factor: retry.factor,
    max_delay_ms: retry.maxDelayMs,
  };
}

export function stepView(intent: Intent, step: Step) {
  return {
    key: step.key,
    ...(step.title === null ? {} : { title: step.title }),
    status: step.status,
    ...(step.result === null ? {} : { result: step.result }),
    ...(step.error === null ? {} : { error: step.error }),
    idempotency_key: stepIdempotencyKey(intent.id, step.key, step.generation),
    ...(step.wait === null ? {} : { wait: waitToJson(step.wait) }),
    tries: step.tries,
    declared: step.position !== null,
    interrupted: step.interrupted,
    on_interrupt: step.onInterrupt ?? intent.onInterrupt ?? "retry",
    ...(step.timeoutMs === null ? {} : { timeout_seconds: step.timeoutMs / 1000 }),
    ...(step.retry === null ? {} : { retry: retryView(step.retry) }),
    ...(step.startedAt === null ? {} : { started_at: iso(step.startedAt) }),
    ...(step.finishedAt === null ? {} : { finished_at: iso(step.finishedAt) }),
    ...(step.startedAt === null || step.finishedAt === null || step.wait !== null
      ? {}
      : { duration_ms: step.finishedAt - step.startedAt }),
  };
}

/** A step as it was once: what the log tells of it. */
export function pastStepView(intentId: string, step: FoldedStep) {
  return {
    key: step.key,
    status: step.status,
    ...(step.result === null ? {} : { result: step.result }),
    ...(step.error === null ? {} : { error: step.error }),
    ...(step.wait === null ? {} : { wait: waitToJson(step.wait) }),
    idempotency_key: stepIdempotencyKey(intentId, step.key, step.generation),
    tries: step.tries,
    declared: step.position !== null,
    interrupted: step.interrupted,
    ...(step.startedAt === null ? {} : { started_at: iso(step.startedAt) }),
    ...(step.finishedAt === null ? {} : { finished_at: iso(step.finishedAt) }),
  };
}

export function nextStepView(next: NextStep | null) {
  if (next === null) return null;
  return {
    key: next.key,
    index: next.index,
    total: next.total,
    idempotency_key: next.idempotencyKey,
    interrupted: next.interrupted,
    tries: next.tries,
  };
}

export function nextOf(intent: Intent, steps: readonly Step[]): NextStep | null {
  return describeNext(intent, steps.find((step) => step.position !== null && isUndone(step)) ?? null);
}

export function eventView(event: IntentEvent) {
  return {
    intent_id: event.intentId,
    seq: event.seq,
    event_type: event.type,
    status: event.status,
    at: iso(event.at),
    waiting_reason: event.waitingReason,
    handler: event.actor,
    actor: event.actor,
    attempt: event.attempt,
    details: event.details,
    ...aboutPeople(event),
  };
}

/** What AXP clients look for beside the details, of events about a person's task. */
function aboutPeople({ type, details }: IntentEvent) {
  if (type !== "intent.human_task_assigned" && type !== "intent.reminder" && type !== "intent.escalated")
    return {};
  const about = (details instanceof RawJson ? details.parse() : details) as AboutTask | null;
  const person = type === "intent.escalated" ? about?.escalate_to : about?.assignees?.[0];
  const pending_with = { type: "human", name: person ?? about?.title ?? "somebody" };
  if (type !== "intent.human_task_assigned") return { pending_with };
  const { title, assignees, allowed_outcomes } = about ?? {};
  return { pending_with, human_task: { title, assignees, allowed_outcomes } };
}

interface AboutTask {
  readonly title?: string;
  readonly assignees?: readonly string[];
  readonly allowed_outcomes?: readonly string[];
  readonly escalate_to?: string;
}

/** The whole working set of a delivery: resuming needs no further call. */
export function deliveryView(record: IntentRecord, steps: readonly Step[]) {
  const { intent } = record;
  return {
    intent_id: intent.id,
    seq: intent.seq,
    status: intent.status,
    attempt: intent.attempt,
    lost_deliveries: intent.strikes,
    max_delivery_attempts: intent.maxDeliveryAttempts,
    redelivered: intent.attempt > 1,
    plan_by: intent.planBy,
    intent: intentView(record),
    steps: steps.filter((step) => step.status !== "superseded").map((step) => stepView(intent, step)),
    next_step: nextStepView(nextOf(intent, steps)),
  };
}
export type DeliveryView = ReturnType<typeof deliveryView>;

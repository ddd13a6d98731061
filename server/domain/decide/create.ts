// The birth of an intent: created and submitted in one commit.

import { addStep, apply, type Draft, emit } from "../draft.ts";
import type { Actor, Intent, OnInterrupt, RetryPolicy } from "../intent.ts";
import { plannedStep, type StepPlan } from "../plan.ts";

export interface NewIntent {
  readonly id: string;
  readonly namespace: string;
  readonly toAgent: string;
  readonly intentType: string;
  readonly priority: number;
  readonly deliverAt: number | null;
  readonly deadlineAt: number | null;
  /** Relative deadline: resolved on the database's clock. */
  readonly ttlMs: number | null;
  readonly maxDeliveryAttempts: number;
  readonly attemptTimeoutMs: number | null;
  readonly onInterrupt: OnInterrupt | null;
  readonly retry: RetryPolicy | null;
  readonly steps: readonly StepPlan[];
}

export function create(input: NewIntent, actor: Actor, now: number): Draft {
  const delayed = input.deliverAt !== null && input.deliverAt > now ? input.deliverAt : null;
  const intent: Intent = {
    id: input.id,
    namespace: input.namespace,
    toAgent: input.toAgent,
    intentType: input.intentType,
    status: "CREATED",
    waitingReason: null,
    seq: 0,
    attempt: 0,
    generation: 0,
    consumerId: null,
    started: false,
    deliveredAt: null,
    strikes: 0,
    totalLosses: 0,
    retriesUsed: 0,
    releases: 0,
    priority: input.priority,
    queueAt: delayed ?? now,
    availableAt: delayed,
    deadlineAt: input.ttlMs !== null ? now + input.ttlMs : input.deadlineAt,
    paused: false,
    planBy: input.steps.length > 0 ? "sender" : null,
    planCursor: 0,
    stepsCount: 0,
    stepsTotal: input.steps.length,
    stepsDone: 0,
    openSteps: [],
    resultsBytes: 0,
    stepDeadline: null,
    refusedAttempt: 0,
    terminalDigest: null,
    maxDeliveryAttempts: input.maxDeliveryAttempts,
    attemptTimeoutMs: input.attemptTimeoutMs,
    onInterrupt: input.onInterrupt,
    retry: input.retry,
    createdAt: now,
    updatedAt: now,
  };
  const draft: Draft = {
    now,
    actor,
    intent,
    steps: new Map(),
    changedSteps: new Set(),
    events: [],
    outcome: undefined,
  };
  input.steps.forEach((step, position) => {
    addStep(draft, plannedStep(step, position, 0));
  });
  emit(draft, "intent.created", {
    intent_type: input.intentType,
    to_agent: input.toAgent,
    ...(input.steps.length > 0 ? { steps: input.steps.map((step) => step.key) } : {}),
  });
  apply(draft, "submit");
  emit(draft, "intent.submitted", delayed === null ? null : { deliver_at: new Date(delayed).toISOString() });
  return draft;
}

// The birth of an intent: created and submitted in one commit.

import { addStep, apply, type Draft, emit } from "../draft.ts";
import type { HumanTask } from "../human-task.ts";
import type { Actor, Intent, OnInterrupt, RetryPolicy } from "../intent.ts";
import { plannedStep, type StepPlan } from "../plan.ts";
import { beginHumanWait, type WaitingStep } from "../wait.ts";
import { awaitStep } from "./waits.ts";

export interface NewIntent {
  readonly id: string;
  readonly namespace: string;
  readonly toAgent: string;
  readonly sentBy: string | null;
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
  readonly parentId: string | null;
  /** The intent is a person's task: nobody is handed it, and the decision is its result. */
  readonly humanTask: HumanTask | null;
  readonly keepVersions: number | null;
  readonly retainMs: number | null;
  /** Led by the server through its scenario. */
  readonly conducted?: boolean;
}

/** The step of an intent that is nothing but a person's task. */
export const HUMAN_TASK_STEP = "human_task";

/** `sessionPaused`: its session takes no work now, so neither does it. */
export function create(input: NewIntent, actor: Actor, now: number, sessionPaused = false): Draft {
  const delayed = input.deliverAt !== null && input.deliverAt > now ? input.deliverAt : null;
  const intent: Intent = {
    id: input.id,
    namespace: input.namespace,
    toAgent: input.toAgent,
    sentBy: input.sentBy,
    intentType: input.intentType,
    status: "CREATED",
    waitingReason: null,
    seq: 0,
    attempt: 0,
    generation: 0,
    patches: 0,
    conducted: input.conducted === true,
    consumerId: null,
    windowed: false,
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
    paused: sessionPaused,
    pausedBy: sessionPaused ? ["session"] : [],
    wakeAt: null,
    parentId: input.parentId,
    hasChildren: false,
    keepVersions: input.keepVersions,
    retainMs: input.retainMs,
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
    ...(input.parentId === null ? {} : { parent_intent_id: input.parentId }),
  });
  apply(draft, "submit");
  emit(draft, "intent.submitted", delayed === null ? null : { deliver_at: new Date(delayed).toISOString() });
  if (sessionPaused) emit(draft, "intent.paused", { paused_by: intent.pausedBy });
  if (input.humanTask !== null) assignTask(draft, input.humanTask);
  return draft;
}

function assignTask(draft: Draft, task: HumanTask): void {
  const plan = { key: HUMAN_TASK_STEP, title: task.title, onInterrupt: null, timeoutMs: null, retry: null };
  const step = {
    ...plannedStep(plan, null, 0),
    status: "waiting" as const,
    startedAt: draft.now,
    wait: beginHumanWait(task, null, draft.now, true),
  };
  addStep(draft, step);
  awaitStep(draft, step as WaitingStep);
}

// Steps: the declared plan, which step comes next, and each step's stable idempotency key.

import { hash } from "node:crypto";
import type { Draft } from "./draft.ts";
import type { Intent, OnInterrupt, RetryPolicy, Step } from "./intent.ts";

export interface StepPlan {
  readonly key: string;
  readonly title: string | null;
  readonly onInterrupt: OnInterrupt | null;
  readonly timeoutMs: number | null;
  readonly retry: RetryPolicy | null;
}

export function plannedStep(plan: StepPlan, position: number | null, generation: number): Step {
  return {
    key: plan.key,
    position,
    title: plan.title,
    status: "planned",
    generation,
    attempt: null,
    tries: 0,
    interrupted: false,
    onInterrupt: plan.onInterrupt,
    timeoutMs: plan.timeoutMs,
    retry: plan.retry,
    startedAt: null,
    finishedAt: null,
    seq: null,
    input: null,
    result: null,
    error: null,
    wait: null,
  };
}

/** Stable over every attempt of one generation of the step: what a handler passes to the outside world. */
export function stepIdempotencyKey(intentId: string, key: string, generation: number): string {
  const digest = hash("sha256", `${intentId}\n${generation}\n${key}`, "hex");
  return `pdr-${digest.slice(0, 32)}`;
}

export const isUndone = (step: Step): boolean => step.status !== "done" && step.status !== "superseded";

export type DeclaredStep = Step & { position: number };

const isDeclared = (step: Step): step is DeclaredStep => step.position !== null;

/** The loaded steps of the plan, in its order. */
export function declaredSteps(draft: Pick<Draft, "steps">): DeclaredStep[] {
  return [...draft.steps.values()].filter(isDeclared).sort((a, b) => a.position - b.position);
}

/** The first declared step that is not done, among those loaded from the cursor on. */
export function nextDeclared(draft: Pick<Draft, "intent" | "steps">): DeclaredStep | null {
  const undone = declaredSteps(draft).filter(
    (step) => step.position >= draft.intent.planCursor && isUndone(step),
  );
  return undone[0] ?? null;
}

export interface NextStep {
  readonly key: string;
  readonly index: number;
  readonly total: number;
  readonly idempotencyKey: string;
  readonly interrupted: boolean;
  readonly tries: number;
}

export function describeNext(intent: Intent, step: Step | null): NextStep | null {
  if (step === null || step.position === null) return null;
  return {
    key: step.key,
    index: step.position,
    total: intent.stepsTotal,
    idempotencyKey: stepIdempotencyKey(intent.id, step.key, step.generation),
    interrupted: step.interrupted,
    tries: step.tries,
  };
}

/** Moves the cursor past a declared step that was just done; a step finished out of order leaves it where it is. */
export function advanceCursor(draft: Draft, done: Step): void {
  // Without a plan every step counts; with one, those of the plan.
  if (draft.intent.planBy === null || done.position !== null) draft.intent.stepsDone += 1;
  if (done.position === null) return;
  const next = nextDeclared(draft);
  // With nothing undone in sight the cursor may only claim what it has seen: the step itself.
  if (next !== null) draft.intent.planCursor = next.position;
  else if (done.position === draft.intent.planCursor) draft.intent.planCursor = done.position + 1;
}

/** The earliest instant at which a running step has run too long. */
export function earliestStepDeadline(draft: Draft): number | null {
  let earliest: number | null = null;
  for (const key of draft.intent.openSteps) {
    const step = draft.steps.get(key);
    if (step?.status !== "running" || step.timeoutMs === null || step.startedAt === null) continue;
    const at = step.startedAt + step.timeoutMs;
    if (earliest === null || at < earliest) earliest = at;
  }
  return earliest;
}

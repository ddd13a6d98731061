// A draft is one decision in the making: copies of an intent's row and steps that a decision changes, and the
// events that tell of it. A refused decision throws and its draft is dropped, so nothing of it remains.

import type { EventType, IntentEvent } from "./event.ts";
import type { Actor, Intent, Outcome, Step } from "./intent.ts";
import { type Action, nextStatus } from "./lifecycle.ts";
import { Refusal } from "./refusal.ts";

export interface Draft {
  readonly now: number;
  readonly actor: Actor;
  readonly intent: Intent;
  /** The steps that were loaded; a missing key is a step that does not exist if it was asked for by name. */
  readonly steps: Map<string, Step>;
  readonly changedSteps: Set<string>;
  readonly events: IntentEvent[];
  /** undefined: untouched; null: removed (an operator's retry). */
  outcome: Outcome | null | undefined;
}

export function openDraft(
  intent: Intent,
  steps: ReadonlyMap<string, Step>,
  actor: Actor,
  now: number,
): Draft {
  return {
    now,
    actor,
    intent: { ...intent },
    steps: new Map(steps),
    changedSteps: new Set(),
    events: [],
    outcome: undefined,
  };
}

export function emit(draft: Draft, type: EventType, details: unknown = null): void {
  const { intent } = draft;
  intent.seq += 1;
  intent.updatedAt = draft.now;
  draft.events.push({
    intentId: intent.id,
    namespace: intent.namespace,
    seq: intent.seq,
    type,
    status: intent.status,
    waitingReason: intent.waitingReason,
    attempt: intent.attempt > 0 ? intent.attempt : null,
    actor: draft.actor.name,
    at: draft.now,
    details,
  });
}

/** Moves the status through the lifecycle table. */
export function apply(draft: Draft, action: Action): void {
  const next = nextStatus(draft.intent.status, action);
  if (next !== "WAITING") draft.intent.waitingReason = null;
  draft.intent.status = next;
}

/** A private copy of a step, marked as changed. */
export function editStep(draft: Draft, key: string): Step {
  const step = draft.steps.get(key);
  if (step === undefined)
    throw new Refusal("step_not_found", `there is no step ${JSON.stringify(key)}`, { key });
  if (draft.changedSteps.has(key)) return step;
  const copy = { ...step };
  draft.steps.set(key, copy);
  draft.changedSteps.add(key);
  return copy;
}

export function addStep(draft: Draft, step: Step): void {
  draft.steps.set(step.key, step);
  draft.changedSteps.add(step.key);
  draft.intent.stepsCount += 1;
}

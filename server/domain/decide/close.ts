// Closing an attempt: its running steps become interrupted (S2), its owner lets go. Why it closes is not known here.

import { type Draft, editStep, emit } from "../draft.ts";
import type { OnInterrupt, Step } from "../intent.ts";

/** Marks running steps as interrupted (stored, until done or superseded) and closes the attempt. Returns the interrupted ones. */
export function closeAttempt(draft: Draft, notRun: readonly string[] = []): Step[] {
  const { intent } = draft;
  const interrupted: Step[] = [];
  for (const key of intent.openSteps) {
    const step = editStep(draft, key);
    if (notRun.includes(key)) {
      // Un-begun. What an earlier try left in doubt stays in doubt.
      step.tries -= 1;
      step.status = step.interrupted ? "interrupted" : "planned";
      step.startedAt = null;
      continue;
    }
    step.status = "interrupted";
    step.interrupted = true;
    interrupted.push(step);
  }
  intent.openSteps = [];
  intent.stepDeadline = null;
  intent.consumerId = null;
  intent.windowed = false;
  intent.started = false;
  for (const step of interrupted) {
    emit(draft, "intent.step_interrupted", {
      key: step.key,
      tries: step.tries,
      on_interrupt: policyOf(draft, step),
    });
  }
  return interrupted;
}

/** What to do about an interrupted step: its own word, else the intent's, else run it again. */
export const policyOf = (draft: Draft, step: Step): OnInterrupt =>
  step.onInterrupt ?? draft.intent.onInterrupt ?? "retry";

/** Closes an attempt whose intent reached its end; running steps stay in the log as interrupted. */
export function closeForEnd(draft: Draft): void {
  if (draft.intent.consumerId !== null) closeAttempt(draft);
  draft.intent.openSteps = [];
  draft.intent.stepDeadline = null;
}

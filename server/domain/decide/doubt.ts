// The answer to a step in doubt: begun in an attempt that ended without a record, and nobody but a person can know.

import { apply, type Draft, editStep, emit } from "../draft.ts";
import type { Failure, Step } from "../intent.ts";
import { isTerminal } from "../lifecycle.ts";
import { RawJson } from "../raw-json.ts";
import { Refusal } from "../refusal.ts";
import { recordProgress } from "./attempt.ts";
import { finish } from "./finish.ts";
import { markDone } from "./steps.ts";

export type StepAnswer =
  | { readonly kind: "done"; readonly result: RawJson }
  | { readonly kind: "retry" }
  | { readonly kind: "fail"; readonly error: Failure };

/** An operator's answer to a step in doubt (`on_interrupt: ask`). The last answer lets the intent go on. */
export function decideStep(draft: Draft, key: string, answer: StepAnswer): Step {
  const { intent } = draft;
  if (isTerminal(intent.status)) {
    throw new Refusal("intent_terminal", `the intent already ended as ${intent.status}`, {
      status: intent.status,
    });
  }
  const known = draft.steps.get(key);
  if (known === undefined)
    throw new Refusal("step_not_found", `there is no step ${JSON.stringify(key)}`, { key });
  if (known.status === "done" && answer.kind === "done" && known.result?.text === answer.result.text)
    return known;
  if (known.status !== "interrupted" || intent.consumerId !== null) {
    throw new Refusal("step_not_in_doubt", `step ${JSON.stringify(key)} is ${known.status}, not in doubt`, {
      key,
      status: known.status,
    });
  }
  const step = editStep(draft, key);
  emit(draft, "intent.step_decided", {
    key,
    decision: answer.kind,
    ...(answer.kind === "fail" ? { error: answer.error } : {}),
  });
  // Whatever the answer is: somebody looked, and what counted against the intent counts no more (S2).
  recordProgress(draft);
  if (answer.kind === "fail") {
    step.status = "failed";
    step.error = RawJson.of({ ...answer.error, final: true });
    finish(draft, { status: "FAILED", result: null, error: answer.error });
    return step;
  }
  if (answer.kind === "done") {
    // How long nobody knew is not how long it took.
    step.startedAt = null;
    markDone(draft, step, answer.result);
  } else {
    // Somebody looked: it is to run again, and is in doubt no longer.
    step.status = "planned";
    step.interrupted = false;
  }
  intent.openSteps = intent.openSteps.filter((open) => open !== key);
  if (intent.status === "WAITING" && intent.openSteps.length === 0) {
    apply(draft, "wake");
    emit(draft, "intent.resumed", { steps: [key] });
  }
  if (intent.status !== "WAITING") completeIfPlanDone(draft, step);
  return step;
}

/** A human's answer may have been the plan's last missing result. */
function completeIfPlanDone(draft: Draft, step: Step): void {
  const { intent } = draft;
  if (step.status === "done" && step.position !== null && intent.stepsDone >= intent.stepsTotal) {
    finish(draft, { status: "COMPLETED", result: step.result, error: null });
  }
}

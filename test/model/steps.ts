// Work on steps: begun, done once, failed, and the plan's next one.

import { atWork, end, fenced, handBackIfPaused, progress, scheduleRetry } from "./attempts.ts";
import { log } from "./log.ts";
import type { Asked, Model, ModelIntent, ModelStep, Verdict } from "./shapes.ts";
import { decideWrites } from "./state.ts";

export const stepOf = (intent: ModelIntent, key: string): ModelStep | undefined =>
  intent.steps.find((step) => step.key === key);
export const nextDeclared = (intent: ModelIntent): ModelStep | undefined =>
  intent.steps.find((step) => step.declared && step.status !== "done");
/** What counts as progress: the plan's steps, or all of them without a plan. */
export const doneCount = ({ plan, steps }: ModelIntent): number =>
  steps.filter((step) => step.status === "done" && (!plan || step.declared)).length;

export const newStep = (key: string, declared: boolean, generation: number): ModelStep => ({
  key,
  declared,
  status: "planned",
  tries: 0,
  doubt: false,
  attempt: 0,
  result: null,
  began: false,
  failedAs: null,
  final: false,
  generation,
  worked: 0,
  ran: 0,
  wait: null,
  signal: null,
  begunAt: 0,
  doneAt: 0,
});

export function start(intent: ModelIntent, beginNext: boolean): Verdict {
  if (intent.paused) return "intent_paused";
  atWork(intent);
  const next = nextDeclared(intent);
  return !intent.begun && beginNext && next !== undefined ? begin(intent, next.key) : "ok";
}

/** The step by that name; a superseded one is another from now on (S6). */
function stepFor(intent: ModelIntent, key: string): ModelStep {
  let step = stepOf(intent, key);
  if (step === undefined) {
    step = newStep(key, false, intent.generation);
    intent.steps.push(step);
  }
  if (step.status === "superseded") {
    step.generation = intent.generation;
    step.ran = 0;
    step.wait = null;
  }
  return step;
}

export function begin(intent: ModelIntent, key: string): Verdict {
  if (intent.paused) return "intent_paused";
  const known = stepOf(intent, key)?.status;
  if (known === "running" || known === "done") return "ok";
  atWork(intent);
  intent.begun = true;
  const step = stepFor(intent, key);
  step.status = "running";
  step.tries += 1;
  step.worked += 1;
  step.ran += 1;
  step.attempt = intent.attempt;
  step.began = true;
  step.begunAt = intent.log.length + 1;
  step.final = false;
  log(intent, "step_running", key);
  return "ok";
}

/** The step to be recorded; one that was never begun ran all the same. */
export function recorded(intent: ModelIntent, key: string): ModelStep {
  const step = stepFor(intent, key);
  if (step.status !== "running" && step.status !== "waiting") {
    step.tries += 1;
    step.worked += 1;
    step.ran += 1;
  }
  step.attempt = intent.attempt;
  return step;
}

export function done(model: Model, intent: ModelIntent, op: Extract<Asked, { op: "done" }>): Verdict {
  // The first result wins, from any attempt; what came with a repeated one was written then.
  if (stepOf(intent, op.key)?.status === "done") return beginFollowing(intent, op);
  const refused = fenced(intent, op.attempt);
  if (refused !== undefined) return refused;
  const writing = decideWrites(model, intent, op.state);
  if (typeof writing === "string") return writing;
  writing();
  const step = recorded(intent, op.key);
  markDone(intent, step, op.result);
  const replay = `done ${op.attempt} ${JSON.stringify(op.result)}`;
  if (!completeIfPlanDone(model, intent, step, replay)) handBackIfPaused(intent);
  return beginFollowing(intent, op);
}

/** The last declared step done is the intent's result. */
export function completeIfPlanDone(
  model: Model,
  intent: ModelIntent,
  step: ModelStep,
  replay?: string,
): boolean {
  if (step.status !== "done" || !step.declared || nextDeclared(intent) !== undefined) return false;
  end(model, intent, {
    status: "COMPLETED",
    result: step.result,
    ...(replay === undefined ? {} : { replay }),
  });
  return true;
}

/** Record one step and begin the next in one call: not once the attempt is over, or the intent paused (I16). */
function beginFollowing(intent: ModelIntent, op: Extract<Asked, { op: "done" }>): Verdict {
  if (!op.beginNext || intent.holder === null || intent.paused || op.attempt !== intent.attempt) return "ok";
  const next = nextDeclared(intent);
  return next === undefined ? "ok" : begin(intent, next.key);
}

export function markDone(
  intent: ModelIntent,
  step: ModelStep,
  result: unknown,
  signal: number | null = null,
): void {
  step.status = "done";
  step.doubt = false;
  step.final = false;
  step.result = result;
  step.signal = signal;
  step.doneAt = intent.log.length + 1;
  progress(intent);
  log(intent, "step_done", step.key);
}

export function failed(model: Model, intent: ModelIntent, op: Extract<Asked, { op: "failed" }>): Verdict {
  const known = stepOf(intent, op.key);
  if (known?.status === "done") return "step_done";
  // The answer to the first report got lost.
  if (
    known?.status === "failed" &&
    known.began &&
    known.attempt === intent.attempt &&
    known.failedAs === op.retryable
  )
    return "ok";
  const step = recorded(intent, op.key);
  const retries = op.retryable && intent.retriesUsed < intent.maxRetries;
  step.status = "failed";
  step.failedAs = op.retryable;
  step.final = !op.retryable;
  log(intent, "step_failed", op.key);
  if (!step.declared) handBackIfPaused(intent);
  else if (retries) scheduleRetry(model, intent);
  else end(model, intent, { status: "FAILED", error: "step_error" });
  return "ok";
}

// An agent's work inside an attempt: start, begin, done, failed, progress.

import { addStep, apply, type Draft, editStep, emit } from "../draft.ts";
import type { Failure, OnInterrupt, RetryPolicy, Step } from "../intent.ts";
import {
  advanceCursor,
  declaredSteps,
  earliestStepDeadline,
  nextDeclared,
  plannedStep,
  type StepPlan,
  stepIdempotencyKey,
} from "../plan.ts";
import { RawJson } from "../raw-json.ts";
import { Refusal } from "../refusal.ts";
import { retryDelayMs } from "../retry.ts";
import type { Wait } from "../wait.ts";
import { waitToJson } from "../wait-json.ts";
import { endForRetry, handBackIfPaused, recordProgress } from "./attempt.ts";
import { requireOpenAttempt } from "./fence.ts";
import { finish } from "./finish.ts";

export interface StartInput {
  readonly attempt: number;
  readonly ackOnly: boolean;
  /** Begin the plan's next step in the same commit (S1). */
  readonly beginNext: boolean;
  readonly steps: readonly StepPlan[] | null;
  readonly force: boolean;
  readonly stepsMax: number;
}

/** The agent says that it has the intent, and (unless it only acknowledges) that work begins. */
export function start(draft: Draft, input: StartInput): void {
  const { intent } = draft;
  requireOpenAttempt(draft, input.attempt);
  if (input.steps !== null) declarePlan(draft, input.steps, input);
  if (input.ackOnly) {
    if (intent.status === "DELIVERED") {
      apply(draft, "acknowledge");
      emit(draft, "intent.acknowledged");
    }
    return;
  }
  requireUnpaused(draft);
  if (intent.status !== "IN_PROGRESS") {
    apply(draft, "start");
    emit(draft, "intent.in_progress");
  }
  const next = nextDeclared(draft);
  // Only while nothing has begun in this attempt: a repeated start must not put the next step in doubt (S1).
  if (input.beginNext && !intent.started && next !== null) begin(draft, next.key, {});
}

function requireUnpaused(draft: Draft): void {
  if (draft.intent.paused) {
    throw new Refusal("intent_paused", "the intent is paused: record what you have and hand it back", {
      paused: true,
    });
  }
}

/** The agent's plan, taken when the sender gave none; a changed one is refused unless forced. */
function declarePlan(draft: Draft, plan: readonly StepPlan[], input: StartInput): void {
  const { intent } = draft;
  if (plan.length === 0) return;
  if (intent.planBy !== null) {
    const declared = declaredSteps(draft).filter((step) => step.status !== "superseded");
    const same =
      declared.length === plan.length && declared.every((step, index) => step.key === plan[index]?.key);
    if (same) return;
    if (!input.force) {
      throw new Refusal(
        "plan_changed",
        "the declared steps differ from those the intent began with; send force:true to replace what is not done",
        {
          declared: declared.map((step) => step.key),
          sent: plan.map((step) => step.key),
        },
      );
    }
  }
  requireRoom(draft, plan.filter((step) => !draft.steps.has(step.key)).length, input.stepsMax);
  replacePlan(draft, plan);
}

function replacePlan(draft: Draft, plan: readonly StepPlan[]): void {
  const { intent } = draft;
  const keys = new Set(plan.map((step) => step.key));
  for (const step of draft.steps.values()) {
    if (step.position === null) continue;
    const old = editStep(draft, step.key);
    old.position = null;
    if (!keys.has(step.key) && step.status !== "done") old.status = "superseded";
  }
  // A step that is not of the plan any more does not run on either, nor does its clock.
  intent.openSteps = intent.openSteps.filter((key) => draft.steps.get(key)?.status === "running");
  intent.stepDeadline = earliestStepDeadline(draft);
  let done = 0;
  plan.forEach((planned, position) => {
    const existing = draft.steps.get(planned.key);
    if (existing === undefined) {
      addStep(draft, plannedStep(planned, position, intent.generation));
      return;
    }
    const step = editStep(draft, planned.key);
    step.position = position;
    if (step.status === "superseded") {
      step.status = "planned";
      beginAnew(draft, step);
    }
    if (step.status === "done") done += 1;
  });
  intent.planBy = "agent";
  intent.planCursor = 0;
  intent.stepsTotal = plan.length;
  intent.stepsDone = done;
  if (intent.status !== "IN_PROGRESS") apply(draft, "start");
  // The log alone has to tell what the plan was at any entry.
  emit(draft, "intent.in_progress", { steps: plan.map((step) => step.key) });
}

function requireRoom(draft: Draft, more: number, stepsMax: number): void {
  if (draft.intent.stepsCount + more > stepsMax) {
    throw new Refusal("too_many_steps", `an intent may have at most ${stepsMax} steps`, { limit: stepsMax });
  }
}

export interface BeginInput {
  readonly input?: RawJson | null;
  readonly onInterrupt?: OnInterrupt | null;
  readonly timeoutMs?: number | null;
  readonly retry?: RetryPolicy | null;
  readonly stepsMax?: number;
  /** Bytes that all of the intent's steps may record, inputs too: who reads its steps reads them whole. Default: no bound. */
  readonly resultsMaxBytes?: number;
}

/** Begins a step of the open attempt. A done one is returned as it is, never handed out again (I5). */
export function begin(draft: Draft, key: string, options: BeginInput): Step {
  const { intent } = draft;
  const existing = draft.steps.get(key);
  if (existing?.status === "done") return existing;
  requireUnpaused(draft);
  if (existing === undefined) {
    requireRoom(draft, 1, options.stepsMax ?? Number.POSITIVE_INFINITY);
    addStep(
      draft,
      plannedStep(
        { key, title: null, onInterrupt: null, timeoutMs: null, retry: null },
        null,
        intent.generation,
      ),
    );
  }
  const step = editStep(draft, key);
  if (step.status === "running" && step.attempt === intent.attempt) return step;
  if (step.status === "superseded") beginAnew(draft, step);
  step.status = "running";
  step.attempt = intent.attempt;
  step.tries += 1;
  step.startedAt = draft.now;
  step.finishedAt = null;
  step.error = null;
  if (options.onInterrupt != null) step.onInterrupt = options.onInterrupt;
  if (options.timeoutMs != null) step.timeoutMs = options.timeoutMs;
  if (options.retry != null) step.retry = options.retry;
  if (options.input != null) takeInput(draft, step, options.input, options);
  intent.openSteps = [...intent.openSteps, key];
  intent.stepDeadline = earliestStepDeadline(draft);
  if (intent.status !== "IN_PROGRESS") {
    apply(draft, "start");
    emit(draft, "intent.in_progress");
  }
  intent.started = true;
  emit(draft, "intent.step_running", {
    key,
    tries: step.tries,
    idempotency_key: stepIdempotencyKey(intent.id, key, step.generation),
    ...(step.interrupted ? { interrupted: true } : {}),
    ...(step.position !== null ? { index: step.position, total: intent.stepsTotal } : {}),
    ...(options.input != null ? { input: options.input } : {}),
  });
  return step;
}

/** The last one counts: a step that is tried again has one input. */
function takeInput(draft: Draft, step: Step, input: RawJson, bound: Bound): void {
  draft.intent.resultsBytes -= Buffer.byteLength(step.input?.text ?? "");
  requireSpace(draft, input, bound);
  draft.intent.resultsBytes += Buffer.byteLength(input.text);
  step.input = input;
}

/** What a restore or another plan took back is another step to the outside world. */
export function beginAnew(draft: Draft, step: Step): void {
  step.generation = draft.intent.generation;
  step.wait = null;
}

/** A step no longer runs: it leaves the set of open ones. */
function settleStep(draft: Draft, step: Step): void {
  const { intent } = draft;
  step.finishedAt = draft.now;
  intent.openSteps = intent.openSteps.filter((open) => open !== step.key);
  intent.stepDeadline = earliestStepDeadline(draft);
}

/** The step to be recorded; an agent that never says begin gets its row now. */
export function stepToRecord(draft: Draft, key: string, stepsMax: number): Step {
  const { intent } = draft;
  if (!draft.steps.has(key)) {
    requireRoom(draft, 1, stepsMax);
    addStep(
      draft,
      plannedStep(
        { key, title: null, onInterrupt: null, timeoutMs: null, retry: null },
        null,
        intent.generation,
      ),
    );
  }
  const step = editStep(draft, key);
  if (step.status !== "running" && step.status !== "waiting") step.tries += 1;
  if (step.status === "superseded") beginAnew(draft, step);
  step.attempt = intent.attempt;
  return step;
}

export interface RecordInput {
  readonly attempt: number;
  readonly stepsMax: number;
  /** The last declared step done completes the intent, a final failure fails it. */
  readonly completeIntent: boolean;
  /** Identifies the intent's end for replays. */
  readonly digest: string;
  /** Bytes that all of the intent's steps may record. Default: no bound. */
  readonly resultsMaxBytes?: number;
}

/** Records a result once; whoever repeats it gets the first one (S3). */
export function recordDone(draft: Draft, key: string, result: RawJson, input: RecordInput): Step {
  const known = draft.steps.get(key);
  if (known?.status === "done") return known;
  requireOpenAttempt(draft, input.attempt);
  const step = stepToRecord(draft, key, input.stepsMax);
  requireSpace(draft, result, input);
  markDone(draft, step, result);
  const { intent } = draft;
  if (input.completeIntent && step.position !== null && intent.stepsDone >= intent.stepsTotal) {
    finish(draft, { status: "COMPLETED", result, error: null, digest: input.digest });
  } else handBackIfPaused(draft);
  return step;
}

type Bound = Pick<RecordInput, "resultsMaxBytes">;

const hasSpace = (draft: Draft, text: string, { resultsMaxBytes }: Bound): boolean =>
  draft.intent.resultsBytes + Buffer.byteLength(text) <= (resultsMaxBytes ?? Number.POSITIVE_INFINITY);

function requireSpace(draft: Draft, value: RawJson, bound: Bound): void {
  if (hasSpace(draft, value.text, bound)) return;
  throw new Refusal(
    "results_too_large",
    `inputs and results of an intent's steps may have ${bound.resultsMaxBytes} bytes in all; keep what is large elsewhere and record where`,
    { limit: bound.resultsMaxBytes },
  );
}

export interface DoneOrigin {
  /** The number of the signal that the step waited for. */
  readonly signal?: number;
  /** What it asked for and had at once. */
  readonly wait?: Wait;
}

export const waitOf = ({ wait }: { readonly wait?: Wait }) =>
  wait === undefined ? {} : { wait: waitToJson(wait) };

/** The result is there: it counts as progress, and whoever began the step lets go of it. */
export function markDone(draft: Draft, step: Step, result: RawJson, origin: DoneOrigin = {}): void {
  step.status = "done";
  step.interrupted = false;
  step.result = result;
  draft.intent.resultsBytes += Buffer.byteLength(result.text);
  step.error = null;
  settleStep(draft, step);
  advanceCursor(draft, step);
  recordProgress(draft);
  const { intent } = draft;
  emit(draft, "intent.step_done", {
    key: step.key,
    tries: step.tries,
    ...(step.position !== null ? { done: intent.stepsDone, total: intent.stepsTotal } : {}),
    ...(step.startedAt !== null && step.wait === null ? { duration_ms: draft.now - step.startedAt } : {}),
    ...origin,
    ...waitOf(origin),
    result,
  });
  step.seq = intent.seq;
}

export interface FailedInput extends RecordInput {
  readonly error: Failure;
  readonly retryable: boolean;
  /** 0..1, for the jitter of the intent's own retry. */
  readonly random?: number;
}

/**
 * Records a failed try. A final failure is replayed as it is to later attempts; any other runs again with the same
 * key. A declared step that may not be tried again in this attempt fails the intent, by the intent's retry policy.
 */
export function recordFailed(draft: Draft, key: string, input: FailedInput): Step {
  requireOpenAttempt(draft, input.attempt);
  const known = draft.steps.get(key);
  if (known?.status === "done")
    throw new Refusal("step_done", `step ${JSON.stringify(key)} is already done`, { key });
  const { intent } = draft;
  if (known !== undefined && isReported(known, intent.attempt, input)) return known;
  const step = stepToRecord(draft, key, input.stepsMax);
  const usedUp = step.tries > (step.retry?.maxRetries ?? 0);
  const intentRetry =
    input.retryable && intent.retry !== null && intent.retriesUsed < intent.retry.maxRetries;
  const final = !input.retryable || (usedUp && step.retry !== null && !intentRetry);
  step.status = "failed";
  const error = { ...input.error, retryable: input.retryable, final };
  const whole = RawJson.of(error);
  // A failure is always told; its details only while there is room for them.
  step.error = hasSpace(draft, whole.text, input) ? whole : RawJson.of({ ...error, details: undefined });
  intent.resultsBytes += Buffer.byteLength(step.error.text);
  settleStep(draft, step);
  emit(draft, "intent.step_failed", { key, tries: step.tries, final, error: input.error });
  if (!input.completeIntent || step.position === null || !(final || usedUp)) {
    handBackIfPaused(draft);
    return step;
  }
  if (intentRetry && intent.retry !== null) {
    endForRetry(
      draft,
      intent.retry,
      input.error,
      retryDelayMs(intent.retry, intent.retriesUsed + 1, input.random ?? 1),
    );
  } else
    finish(draft, { status: "FAILED", result: null, error: stepFailure(key, input), digest: input.digest });
  return step;
}

/**
 * This very try was reported before and the answer got lost: it counts once. Only an agent that begins its steps is
 * recognised so; of one that never does, the same failure again is another try.
 */
function isReported(step: Step, attempt: number, { error, retryable }: FailedInput): boolean {
  if (step.status !== "failed" || step.attempt !== attempt || step.startedAt === null) return false;
  return [true, false].some((final) => step.error?.text === RawJson.of({ ...error, retryable, final }).text);
}

function stepFailure(key: string, { error, retryable }: FailedInput): Failure {
  const inner = error.details === undefined ? {} : { details: error.details };
  return { code: error.code, message: error.message, retryable, details: { step: key, ...inner } };
}

export interface ProgressInput {
  readonly attempt: number;
  readonly message: string | null;
  readonly percent: number | null;
  readonly data: RawJson | null;
  /** A piece of the result, and how much of it this attempt has told before. */
  readonly output: { readonly text: string; readonly offset: number | null } | null;
}

export function reportProgress(draft: Draft, input: ProgressInput): void {
  requireOpenAttempt(draft, input.attempt);
  emit(draft, "intent.progress", {
    ...(input.message === null ? {} : { message: input.message }),
    ...(input.percent === null ? {} : { percent: input.percent }),
    ...(input.data === null ? {} : { data: input.data }),
    ...(input.output === null ? {} : { output: input.output.text }),
    ...(input.output?.offset == null ? {} : { output_offset: input.output.offset }),
  });
}

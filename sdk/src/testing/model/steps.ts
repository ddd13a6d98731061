// Owns: work on steps: the plan, begun, done once, failed, and the operator's word on a step in doubt.
import { stableHash } from "../../hash.ts";
import type { Wire } from "../../intents.ts";
import { atWork, end, mayRetry, progressed, requireOpen, scheduleRetry } from "./attempts.ts";
import { isOver, log, type Model, type ModelIntent, type ModelStep, refusal } from "./shapes.ts";
import { decideWrites } from "./state.ts";

/** Stable over every attempt: what a handler passes to the outside world. */
export const stepKey = (intent: ModelIntent, key: string): string =>
  `pdr-${stableHash(`${intent.id}\n${key}`)}`;

export function planned(plan: string | Wire, position: number | null): ModelStep {
  const { key, on_interrupt, timeout_seconds, retry } =
    typeof plan === "string" ? ({ key: plan } as Wire) : plan;
  return {
    key,
    position,
    status: "planned",
    tries: 0,
    attempt: 0,
    interrupted: false,
    onInterrupt: on_interrupt ?? null,
    timeoutMs: timeout_seconds == null ? null : timeout_seconds * 1_000,
    retry: retry ?? null,
    startedAt: null,
    finishedAt: null,
    result: null,
    error: null,
    wait: null,
    seq: 0,
  };
}

export const declared = (intent: ModelIntent): ModelStep[] =>
  [...intent.steps.values()]
    .filter((step) => step.position !== null)
    .sort((a, b) => Number(a.position) - Number(b.position));

export const nextDeclared = (intent: ModelIntent): ModelStep | undefined =>
  declared(intent).find((step) => step.status !== "done");

const isPlanDone = (intent: ModelIntent): boolean => nextDeclared(intent) === undefined;

/** Of the plan, or of all steps where there is none. */
export const doneCount = (intent: ModelIntent): number =>
  [...intent.steps.values()].filter(
    (step) => step.status === "done" && (intent.planBy === null || step.position !== null),
  ).length;

/** The agent says that work begins, and what its plan is where the sender gave none. */
export function start(model: Model, intent: ModelIntent, body: Wire): void {
  requireOpen(model, intent, body.attempt, "start");
  if (body.steps?.length > 0) declarePlan(model, intent, body.steps);
  atWork(model, intent);
  const next = nextDeclared(intent);
  if (body.begin_next !== false && !intent.started && next !== undefined) begin(model, intent, next.key, {});
}

function declarePlan(model: Model, intent: ModelIntent, plan: (string | Wire)[]): void {
  const keys = plan.map((step) => (typeof step === "string" ? step : step.key));
  if (intent.planBy !== null) {
    const known = declared(intent).map((step) => step.key);
    if (JSON.stringify(known) === JSON.stringify(keys)) return;
    throw refusal("plan_changed", "the declared steps differ from those the intent began with", {
      declared: known,
      sent: keys,
    });
  }
  plan.forEach((step, position) => {
    intent.steps.set(keys[position] as string, planned(step, position));
  });
  intent.planBy = "agent";
  intent.status = "IN_PROGRESS";
  log(model, intent, "in_progress", { steps: keys });
}

/** The step by that name; one made on the way has its entry from now on. */
export function stepFor(intent: ModelIntent, key: string): ModelStep {
  const known = intent.steps.get(key);
  if (known !== undefined) return known;
  const step = planned(key, null);
  intent.steps.set(key, step);
  return step;
}

/** Begins a step of the open attempt. A done one is answered as it is, never handed out again. */
export function begin(model: Model, intent: ModelIntent, key: string, options: Wire): ModelStep {
  const known = intent.steps.get(key);
  if (known?.status === "done") return known;
  const step = stepFor(intent, key);
  if (step.status === "running" && step.attempt === intent.attempt) return step;
  step.status = "running";
  step.attempt = intent.attempt;
  step.tries += 1;
  step.startedAt = model.now();
  step.finishedAt = null;
  step.error = null;
  if (options.on_interrupt != null) step.onInterrupt = options.on_interrupt;
  if (options.timeout_seconds != null) step.timeoutMs = options.timeout_seconds * 1_000;
  if (options.retry != null) step.retry = options.retry;
  intent.openSteps = [...intent.openSteps, key];
  atWork(model, intent);
  intent.started = true;
  log(model, intent, "step_running", {
    key,
    tries: step.tries,
    idempotency_key: stepKey(intent, key),
    ...(step.interrupted ? { interrupted: true } : {}),
    ...(options.input == null ? {} : { input: options.input }),
  });
  return step;
}

/** The step to be recorded; one that nobody said begins has run all the same. */
export function toRecord(intent: ModelIntent, key: string): ModelStep {
  const step = stepFor(intent, key);
  if (step.status !== "running" && step.status !== "waiting") step.tries += 1;
  step.attempt = intent.attempt;
  return step;
}

/** `PUT …/steps/{key}`, but for waits. Answers the step, and the one that began with it. */
export function record(
  model: Model,
  intent: ModelIntent,
  key: string,
  body: Wire,
): { step: ModelStep; begun?: ModelStep } {
  const isDone = intent.steps.get(key)?.status === "done";
  if (!(isDone && body.status !== "failed")) requireOpen(model, intent, body.attempt, `step_${body.status}`);
  if (body.status === "running") return { step: begin(model, intent, key, body) };
  if (body.status === "failed") return { step: failed(model, intent, key, body) };
  // The first recorded result wins; what came with it was written then.
  const step = isDone ? (intent.steps.get(key) as ModelStep) : done(model, intent, key, body);
  const following = body.begin_next === true ? nextDeclared(intent)?.key : body.begin_next;
  const goesOn = typeof following === "string" && intent.holder !== null && body.attempt === intent.attempt;
  return { step, ...(goesOn ? { begun: begin(model, intent, following, {}) } : {}) };
}

function done(model: Model, intent: ModelIntent, key: string, body: Wire): ModelStep {
  const writes = (body.state ?? []).map((write: Wire) => ({ scope: `intent:${intent.id}`, ...write }));
  decideWrites(model, writes, intent)();
  const step = toRecord(intent, key);
  markDone(model, intent, step, body.result ?? null);
  if (body.complete_intent !== false && step.position !== null && isPlanDone(intent)) {
    const digest = digestOf("COMPLETED", body.attempt, step.result);
    end(model, intent, { status: "COMPLETED", result: step.result, digest });
  }
  return step;
}

export function markDone(
  model: Model,
  intent: ModelIntent,
  step: ModelStep,
  result: unknown,
  origin: Wire = {},
): void {
  step.status = "done";
  step.interrupted = false;
  step.result = result;
  step.error = null;
  settle(model, intent, step);
  progressed(intent);
  step.seq = log(model, intent, "step_done", { key: step.key, tries: step.tries, ...origin, result });
}

function settle(model: Model, intent: ModelIntent, step: ModelStep): void {
  step.finishedAt = model.now();
  intent.openSteps = intent.openSteps.filter((open) => open !== step.key);
}

/** A final failure is replayed as it is; any other runs again. One of the plan fails the intent, by its retry policy. */
function failed(model: Model, intent: ModelIntent, key: string, body: Wire): ModelStep {
  const known = intent.steps.get(key);
  if (known?.status === "done") throw refusal("step_done", `step ${JSON.stringify(key)} is already done`);
  const retryable = body.retryable !== false;
  // This very try was reported before, and the answer got lost.
  if (known?.status === "failed" && known.attempt === intent.attempt && known.startedAt !== null)
    if (known.error?.message === body.error?.message && known.error?.code === body.error?.code) return known;
  const step = toRecord(intent, key);
  const usedUp = step.tries > (step.retry?.max_retries ?? 0);
  const again = mayRetry(intent, retryable);
  const final = !retryable || (usedUp && step.retry !== null && !again);
  step.status = "failed";
  step.error = { ...body.error, retryable, final };
  settle(model, intent, step);
  log(model, intent, "step_failed", { key, tries: step.tries, final, error: body.error });
  if (body.complete_intent === false || step.position === null || !(final || usedUp)) return step;
  if (again) scheduleRetry(model, intent, body.error, undefined);
  else {
    const { code, message, details } = body.error;
    const error = { code, message, retryable, details: { step: key, ...details } };
    end(model, intent, { status: "FAILED", error });
  }
  return step;
}

const digestOf = (status: string, attempt: number | null, told: unknown): string =>
  JSON.stringify([status, attempt, told ?? null]);

/** `POST …/resolve`: complete, fail by the retry policy, cancel. The same end again is answered as the first time. */
export function resolve(model: Model, intent: ModelIntent, body: Wire): void {
  const { status, attempt = null, retryable = false } = body;
  const error = status === "COMPLETED" ? undefined : { ...body.error, retryable };
  const digest = digestOf(status, attempt, status === "COMPLETED" ? body.result : body.error);
  if (isOver(intent)) {
    if (intent.ending === digest && (attempt === null || attempt === intent.attempt)) return;
    if (attempt !== null && attempt < intent.attempt)
      requireOpen(model, intent, attempt, `resolve ${status}`);
    throw refusal("already_finished", `the intent already ended as ${intent.status}`);
  }
  if (attempt !== null) {
    requireOpen(model, intent, attempt, `resolve ${status}`);
    atWork(model, intent);
  }
  if (status === "FAILED" && intent.holder !== null && mayRetry(intent, retryable)) {
    const after = body.retry_after_seconds;
    scheduleRetry(model, intent, error as Wire, after == null ? undefined : after * 1_000);
  } else end(model, intent, { status, result: body.result ?? null, digest, ...(error && { error }) });
}

/** An operator's answer to a step in doubt. The last answer lets the intent go on. */
export function decideStep(model: Model, intent: ModelIntent, key: string, answer: Wire): void {
  if (isOver(intent)) throw refusal("intent_terminal", `the intent already ended as ${intent.status}`);
  const step = intent.steps.get(key);
  if (step === undefined) throw refusal("step_not_found", `there is no step ${JSON.stringify(key)}`);
  if (step.status !== "interrupted" || intent.holder !== null)
    throw refusal("step_not_in_doubt", `step ${JSON.stringify(key)} is ${step.status}, not in doubt`);
  const decision = "done" in answer ? "done" : answer.retry === true ? "retry" : "fail";
  const error = { code: "step_failed", message: `an operator failed step ${key}`, retryable: false };
  log(model, intent, "step_decided", { key, decision, ...(decision === "fail" ? { error } : {}) });
  progressed(intent);
  if (decision === "fail") {
    step.status = "failed";
    step.error = { ...error, final: true };
    return void end(model, intent, { status: "FAILED", error });
  }
  const isDone = decision === "done";
  step.startedAt = null;
  if (isDone) markDone(model, intent, step, answer.done);
  else {
    step.status = "planned";
    step.interrupted = false;
  }
  intent.openSteps = intent.openSteps.filter((open) => open !== key);
  if (intent.status === "WAITING" && intent.openSteps.length === 0) goOn(model, intent, key);
  if (intent.status !== "WAITING" && step.position !== null && isDone && isPlanDone(intent))
    end(model, intent, { status: "COMPLETED", result: step.result });
}

/** What it waited for is there: it goes back to the queue. */
export function goOn(model: Model, intent: ModelIntent, key: string): void {
  intent.status = "IN_PROGRESS";
  intent.reason = null;
  intent.openSteps = [];
  log(model, intent, "resumed", { steps: [key] });
}

/** Whether a wait that is over ends the intent: it is nothing but that task, or this is how its plan ends. */
export const isEnd = (intent: ModelIntent, { position, wait }: ModelStep, failing: boolean): boolean =>
  wait?.ends === true || (position !== null && wait?.keepOpen !== true && (failing || isPlanDone(intent)));

// What ends an intent or reopens it, what an operator may do to it, and what time does.

import {
  atWork,
  closeAttempt,
  end,
  fenced,
  handBackIfPaused,
  lose,
  progress,
  scheduleRetry,
} from "./attempts.ts";
import { log } from "./log.ts";
import { isOver } from "./queue.ts";
import type { Asked, Model, ModelIntent, Verdict } from "./shapes.ts";
import { completeIfPlanDone, markDone, stepOf } from "./steps.ts";
import { assignAgain, settleWait, waitDueAt } from "./waits.ts";

export function resolve(
  model: Model,
  intent: ModelIntent,
  op: Extract<Asked, { op: "complete" | "fail" }>,
): Verdict {
  const replay =
    op.op === "complete" ? `done ${op.attempt} ${JSON.stringify(op.result)}` : `failed ${op.attempt}`;
  if (isOver(intent)) {
    if (intent.ending === replay && op.attempt === intent.attempt) return "ok";
    if (op.attempt < intent.attempt) return fenced(intent, op.attempt) ?? "ok";
    return "already_finished";
  }
  const refused = fenced(intent, op.attempt);
  if (refused !== undefined) return refused;
  atWork(intent);
  if (op.op === "complete") end(model, intent, { status: "COMPLETED", replay, result: op.result });
  else if (op.retryable && intent.retriesUsed < intent.maxRetries) scheduleRetry(model, intent);
  else end(model, intent, { status: "FAILED", replay, error: "handler_error" });
  return "ok";
}

export function cancel(model: Model, intent: ModelIntent): Verdict {
  if (intent.status === "CANCELED") return "ok";
  if (isOver(intent)) return "intent_terminal";
  end(model, intent, { status: "CANCELED", error: "canceled" });
  return "ok";
}

export function pause(intent: ModelIntent): Verdict {
  if (isOver(intent)) return "intent_terminal";
  if (intent.paused) return "ok";
  intent.paused = true;
  log(intent, "paused");
  handBackIfPaused(intent);
  return "ok";
}

export function unpause(intent: ModelIntent): Verdict {
  if (!intent.paused) return "ok";
  intent.paused = false;
  log(intent, "unpaused");
  return "ok";
}

export function retry(model: Model, intent: ModelIntent): Verdict {
  if (!["FAILED", "CANCELED", "TIMED_OUT"].includes(intent.status)) return "not_retryable";
  reopen(model, intent);
  intent.queueAt = model.now;
  // Failed steps run again, and wait anew.
  for (const step of intent.steps) {
    if (step.status !== "failed") continue;
    step.status = "planned";
    step.final = false;
    step.wait = null;
  }
  log(intent, "retried");
  assignAgain(model, intent);
  return "ok";
}

/** What retry and restore have in common: what counted against the intent counts no more (D1, D10). */
export function reopen(model: Model, intent: ModelIntent): void {
  if (intent.holder !== null) closeAttempt(intent);
  intent.status = "SUBMITTED";
  intent.generation += 1;
  intent.reason = null;
  intent.parkedOn = [];
  intent.ending = null;
  intent.result = null;
  intent.error = null;
  intent.chosenDelay = null;
  intent.availableAt = intent.deliverAt !== null && intent.deliverAt > model.now ? intent.deliverAt : null;
  if (intent.deadlineAt !== null && intent.deadlineAt <= model.now) intent.deadlineAt = null;
  progress(intent);
}

/** The answer about a step in doubt. */
export function decide(
  model: Model,
  intent: ModelIntent,
  key: string,
  answer: "done" | "retry" | "fail",
): Verdict {
  if (isOver(intent)) return "intent_terminal";
  const step = stepOf(intent, key);
  if (step === undefined) return "step_not_found";
  if (step.status === "done" && answer === "done" && step.result === "decided") return "ok";
  if (step.status !== "interrupted" || intent.holder !== null) return "step_not_in_doubt";
  if (answer === "fail") {
    step.status = "failed";
    step.final = true;
  }
  if (answer === "retry") {
    step.status = "planned";
    step.doubt = false;
  }
  log(intent, "step_decided", `${key} ${answer}`);
  progress(intent);
  if (answer === "fail") {
    end(model, intent, { status: "FAILED", error: "step_failed" });
    return "ok";
  }
  if (answer === "done") markDone(intent, step, "decided");
  intent.parkedOn = intent.parkedOn.filter((one) => one !== key);
  if (intent.status === "WAITING" && intent.parkedOn.length === 0) {
    intent.status = "IN_PROGRESS";
    intent.reason = null;
    log(intent, "resumed", key);
  }
  if (intent.status !== "WAITING") completeIfPlanDone(model, intent, step);
  return "ok";
}

/** Everything that is due by the clock. */
export function due(model: Model, intent: ModelIntent): Verdict {
  if (isOver(intent)) return "nothing";
  if (intent.deadlineAt !== null && intent.deadlineAt <= model.now)
    end(model, intent, { status: "TIMED_OUT", error: "deadline_exceeded" });
  else if (attemptTimedOut(model, intent)) lose(model, intent);
  else if (isPast(model, waitDueAt(intent))) settleWait(model, intent);
  else if (isPast(model, intent.availableAt)) {
    intent.availableAt = null;
    intent.chosenDelay = null;
    intent.deliverAt = null;
  } else return "nothing";
  return "ok";
}

const isPast = (model: Model, at: number | null): boolean => at !== null && at <= model.now;

function attemptTimedOut(model: Model, intent: ModelIntent): boolean {
  if (intent.holder === null || intent.attemptTimeoutMs === null) return false;
  return intent.deliveredAt + intent.attemptTimeoutMs <= model.now;
}

export function isDue(model: Model, intent: ModelIntent): boolean {
  if (isOver(intent)) return false;
  const times = [intent.deadlineAt, intent.availableAt, waitDueAt(intent)];
  return times.some((at) => isPast(model, at)) || attemptTimedOut(model, intent);
}

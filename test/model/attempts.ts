// How an attempt begins and ends: the fence, delivery, loss, release, retry, and the end of an intent.

import { doomChildren } from "./kin.ts";
import { log } from "./log.ts";
import { hasRoom, isWaitingInQueue } from "./queue.ts";
import {
  type Model,
  type ModelIntent,
  type ModelStep,
  RETRY_MS,
  type Status,
  type Verdict,
} from "./shapes.ts";

/** The fence (I4): a write needs the current, open attempt; each stale attempt leaves one trace. */
export function fenced(intent: ModelIntent, attempt: number): Verdict | undefined {
  if (isOpen(intent, attempt)) return undefined;
  if (attempt <= intent.attempt && attempt > intent.refusedAttempt) {
    intent.refusedAttempt = attempt;
    log(intent, "stale_write_refused");
  }
  return "stale_attempt";
}

export const isOpen = (intent: ModelIntent, attempt: number): boolean =>
  attempt === intent.attempt && intent.holder !== null;

export function deliver(model: Model, intent: ModelIntent, name: string): Verdict {
  const consumer = model.consumers.find((one) => one.name === name);
  if (consumer === undefined || consumer.address !== intent.address || !hasRoom(model, consumer))
    return "no_room";
  if (!isWaitingInQueue(intent)) return "not_claimable";
  if (intent.deadlineAt !== null && intent.deadlineAt <= model.now) return "overdue";
  intent.attempt += 1;
  intent.holder = name;
  intent.begun = false;
  intent.deliveredAt = model.now;
  if (intent.status === "SUBMITTED") intent.status = "DELIVERED";
  log(intent, "delivered");
  if (!consumer.explicitAck) atWork(intent);
  return "ok";
}

export function atWork(intent: ModelIntent): void {
  if (intent.status === "IN_PROGRESS") return;
  intent.status = "IN_PROGRESS";
  log(intent, "in_progress");
}

export function progress(intent: ModelIntent): void {
  intent.strikes = 0;
  intent.retriesUsed = 0;
  intent.releases = 0;
}

export const running = (intent: ModelIntent): ModelStep[] =>
  intent.steps.filter((step) => step.status === "running").sort((a, b) => a.begunAt - b.begunAt);

export function scheduleRetry(model: Model, intent: ModelIntent): void {
  intent.retriesUsed += 1;
  // Exponential with jitter: between the half and the whole.
  const whole = RETRY_MS * 2 ** (intent.retriesUsed - 1);
  intent.chosenDelay = { least: model.now + whole / 2, most: model.now + whole };
  intent.availableAt = model.now + whole;
  log(intent, "retry_scheduled");
  settleDoubt(model, intent, closeAttempt(intent));
}

export function release(model: Model, intent: ModelIntent, notRun: string[]): Verdict {
  intent.releases += 1;
  // The first is free, then a growing delay stops a hot loop (D8).
  if (intent.releases > 1) intent.availableAt = model.now + Math.min(30_000, 100 * 2 ** intent.releases);
  for (const step of running(intent)) {
    if (!notRun.includes(step.key)) continue;
    step.tries -= 1;
    step.worked -= 1;
    step.ran -= 1;
    step.began = false;
    step.status = step.doubt ? "interrupted" : "planned";
  }
  log(intent, "released");
  settleDoubt(model, intent, closeAttempt(intent));
  return "ok";
}

/** Ends the open attempt: what runs is in doubt from here on (S2). */
export function closeAttempt(intent: ModelIntent): ModelStep[] {
  const interrupted = running(intent);
  intent.holder = null;
  intent.begun = false;
  for (const step of interrupted) {
    step.status = "interrupted";
    step.doubt = true;
    log(intent, "step_interrupted", step.key);
  }
  return interrupted;
}

/** True when the intent goes on by itself. */
function settleDoubt(model: Model, intent: ModelIntent, interrupted: ModelStep[]): boolean {
  if (interrupted.length === 0 || intent.onInterrupt === "retry") return true;
  if (intent.onInterrupt === "fail") {
    end(model, intent, { status: "FAILED", error: "step_interrupted" });
    return false;
  }
  intent.status = "WAITING";
  intent.reason = "WAITING_FOR_HUMAN";
  intent.parkedOn = interrupted.map((step) => step.key);
  log(intent, "waiting", `${intent.reason} ${[...intent.parkedOn].sort()}`);
  return false;
}

export function lose(model: Model, intent: ModelIntent): void {
  intent.strikes += 1;
  log(intent, "lost");
  const interrupted = closeAttempt(intent);
  if (intent.strikes >= intent.maxDeliveries) {
    log(intent, "delivery_failed");
    end(model, intent, { status: "FAILED", error: "delivery_attempts_exhausted" });
  } else if (settleDoubt(model, intent, interrupted)) log(intent, "redelivery_scheduled");
}

export interface Ending {
  status: Status;
  /** By which the same end is known again. */
  replay?: string;
  result?: unknown;
  error?: string;
}

export function end(model: Model, intent: ModelIntent, ending: Ending): void {
  if (intent.holder !== null) closeAttempt(intent);
  intent.status = ending.status;
  intent.reason = null;
  intent.parkedOn = [];
  intent.availableAt = null;
  intent.chosenDelay = null;
  intent.deliverAt = null;
  intent.ending = ending.replay ?? null;
  intent.result = ending.result ?? null;
  intent.error = ending.error ?? null;
  log(intent, ending.status.toLowerCase());
  if (ending.status === "CANCELED" || ending.status === "TIMED_OUT") doomChildren(model, intent);
}

/** S5: between two steps the server takes a paused intent back itself; one without steps just finishes. */
export function handBackIfPaused(intent: ModelIntent): void {
  if (!intent.paused || intent.holder === null || intent.steps.length === 0 || running(intent).length > 0)
    return;
  log(intent, "released");
  closeAttempt(intent);
}

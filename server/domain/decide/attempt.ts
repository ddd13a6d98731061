// How an attempt begins and ends. `attempt` grows by one at every delivery and never shrinks; it is open from
// delivery until it ends, and an intent has at most one open attempt (I6). What checks it: fence.ts.

import { apply, type Draft, emit } from "../draft.ts";
import type { Failure, RetryPolicy, Step } from "../intent.ts";
import { isTerminal } from "../lifecycle.ts";
import { Refusal } from "../refusal.ts";
import { releaseDelayMs } from "../retry.ts";
import { isClaimable, isOverdue } from "../schedule.ts";
import { closeAttempt, policyOf } from "./close.ts";
import { finish } from "./finish.ts";

export interface LossLimits {
  /** Absolute cap on lost deliveries since the last operator reset, whatever progress was made between. */
  readonly maxTotalLosses: number;
}

export interface Consumer {
  readonly id: string;
  readonly name: string;
  /** Says `start` itself; for all others the delivery is the acknowledgement. */
  readonly explicitAck: boolean;
  /** Its lease is this one delivery's, and nobody keeps it alive. */
  readonly windowed?: boolean;
}

/** Leases the intent to a consumer: a new attempt. */
export function deliver(draft: Draft, consumer: Consumer): void {
  const { intent } = draft;
  if (!isClaimable(intent) || isOverdue(intent, draft.now)) {
    throw new Refusal("not_claimable", "the intent cannot be delivered now", { status: intent.status });
  }
  const redelivered = intent.attempt > 0;
  apply(draft, "deliver");
  intent.attempt += 1;
  intent.consumerId = consumer.id;
  intent.windowed = consumer.windowed === true;
  intent.deliveredAt = draft.now;
  intent.started = false;
  emit(draft, "intent.delivered", { consumer: consumer.name, consumer_id: consumer.id, redelivered });
  if (!consumer.explicitAck) {
    const before = intent.status;
    apply(draft, "start");
    if (before !== intent.status) emit(draft, "intent.in_progress");
  }
}

/** What interrupted steps ask for: true when the intent goes on by itself. */
function settleInterrupted(draft: Draft, interrupted: readonly Step[]): boolean {
  const failing = interrupted.find((step) => policyOf(draft, step) === "fail");
  if (failing !== undefined) {
    finish(draft, { status: "FAILED", result: null, error: interruptedFailure(failing) });
    return false;
  }
  const asking = interrupted.filter((step) => policyOf(draft, step) === "ask").map((step) => step.key);
  if (asking.length === 0) return true;
  const { intent } = draft;
  apply(draft, "wait");
  intent.waitingReason = "WAITING_FOR_HUMAN";
  intent.openSteps = asking;
  emit(draft, "intent.waiting", { reason: "WAITING_FOR_HUMAN", steps: asking, question: "in_doubt" });
  return false;
}

function interruptedFailure(step: Step): Failure {
  return {
    code: "step_interrupted",
    message: `step ${JSON.stringify(step.key)} was interrupted and its on_interrupt is "fail"`,
    retryable: false,
    details: { step: step.key, tries: step.tries },
  };
}

/** An attempt is lost: its agent died, fell silent, was replaced or took too long. The only thing that strikes. */
export function lose(draft: Draft, reason: string, limits: LossLimits, consumerName?: string): void {
  const { intent } = draft;
  if (intent.consumerId === null) return;
  apply(draft, "end_attempt");
  intent.strikes += 1;
  intent.totalLosses += 1;
  const running = [...intent.openSteps];
  const consumer = consumerName ?? intent.consumerId;
  const interruptedBefore = draft.events.length;
  emit(draft, "intent.lost", {
    reason,
    consumer,
    attempt: intent.attempt,
    lost_deliveries: intent.strikes,
    max_delivery_attempts: intent.maxDeliveryAttempts,
    ...(running.length > 0 ? { steps: running } : {}),
  });
  const interrupted = closeAttempt(draft);
  const capped = intent.strikes >= intent.maxDeliveryAttempts;
  if (capped || intent.totalLosses >= limits.maxTotalLosses) {
    exhaust(draft, capped ? "max_delivery_attempts" : "max_total_losses");
    return;
  }
  if (settleInterrupted(draft, interrupted)) {
    emit(draft, "intent.redelivery_scheduled", { reason, cause_seq: draft.events[interruptedBefore]?.seq });
  }
}

function exhaust(draft: Draft, cap: string): void {
  const { intent } = draft;
  const details = {
    lost_deliveries: intent.strikes,
    max_delivery_attempts: intent.maxDeliveryAttempts,
    total_losses: intent.totalLosses,
    delivery_attempt: intent.attempt,
    cap,
  };
  emit(draft, "intent.delivery_failed", details);
  finish(draft, {
    status: "FAILED",
    result: null,
    error: {
      code: "delivery_attempts_exhausted",
      message:
        cap === "max_delivery_attempts"
          ? `${intent.strikes} deliveries in a row were lost without progress`
          : `${intent.totalLosses} deliveries were lost in all`,
      retryable: false,
      details,
    },
  });
}

/** A graceful hand-back: costs no attempt; repeated ones without progress wait longer (no hot loop). */
export function release(draft: Draft, notRun: readonly string[], reason: string): void {
  const { intent } = draft;
  apply(draft, "end_attempt");
  intent.releases += 1;
  const unbegun = intent.openSteps.filter((key) => notRun.includes(key));
  const delay = releaseDelayMs(intent.releases);
  if (delay > 0) intent.availableAt = draft.now + delay;
  emit(draft, "intent.released", {
    reason,
    attempt: intent.attempt,
    ...(delay > 0 ? { available_in_ms: delay } : {}),
    ...(unbegun.length > 0 ? { not_run: unbegun } : {}),
  });
  settleInterrupted(draft, closeAttempt(draft, unbegun));
}

/**
 * The database has forgotten what it said last (a backup, a standby without the last commits): an attempt may be held that it knows nothing
 * of, under a number that it would give out again. Nobody's attempt counts any more, and the numbers in doubt are left out; it strikes
 * nobody. False: it has ended.
 */
export function forgetAttempts(draft: Draft, left: number): boolean {
  const { intent } = draft;
  if (isTerminal(intent.status)) return false;
  if (intent.consumerId !== null) {
    apply(draft, "end_attempt");
    emit(draft, "intent.released", { reason: "fenced", attempt: intent.attempt });
    if (!settleInterrupted(draft, closeAttempt(draft)) && isTerminal(intent.status)) return true;
  }
  intent.attempt += left;
  emit(draft, "intent.redelivery_scheduled", { reason: "fenced", attempts_left_out: left });
  return true;
}

/** Ends the attempt because the handler itself failed and may try again at `availableAt`. */
export function endForRetry(draft: Draft, policy: RetryPolicy, error: Failure, delayMs: number): void {
  const { intent } = draft;
  apply(draft, "end_attempt");
  intent.retriesUsed += 1;
  intent.availableAt = draft.now + delayMs;
  emit(draft, "intent.retry_scheduled", {
    retry: intent.retriesUsed,
    max_retries: policy.maxRetries,
    delay_ms: delayMs,
    error,
  });
  settleInterrupted(draft, closeAttempt(draft));
}

/** Progress: a step newly done. Clears what counts against the intent. */
export function recordProgress(draft: Draft): void {
  draft.intent.strikes = 0;
  draft.intent.retriesUsed = 0;
  draft.intent.releases = 0;
}

/** S5: while paused, an attempt of which no step is running is handed back by the server itself; a step-less handler just finishes. */
export function handBackIfPaused(draft: Draft): boolean {
  const { intent } = draft;
  if (!intent.paused || intent.consumerId === null || intent.stepsCount === 0 || intent.openSteps.length > 0)
    return false;
  apply(draft, "end_attempt");
  emit(draft, "intent.released", { reason: "paused", attempt: intent.attempt });
  closeAttempt(draft);
  return true;
}

// What an operator may do to an intent, and what time does to it.

import { apply, type Draft, editStep, emit } from "../draft.ts";
import type { Pauser } from "../intent.ts";
import { isTerminal } from "../lifecycle.ts";
import { Refusal } from "../refusal.ts";
import { attemptDeadline, isOverdue } from "../schedule.ts";
import { handBackIfPaused, type LossLimits, lose } from "./attempt.ts";
import { timeOut } from "./finish.ts";
import { assignAgain, tickWaits } from "./waits.ts";

export interface RetryInput {
  /** A new deadline; null clears an old one that has passed. */
  readonly deadlineAt: number | null;
}

/** Reopens an ended intent: same id, done steps kept, counters reset; `attempt` goes on growing (S7). */
export function retry(draft: Draft, input: RetryInput): void {
  const { intent } = draft;
  const from = intent.status;
  apply(draft, "retry");
  resetCounters(draft);
  intent.queueAt = draft.now;
  if (input.deadlineAt !== null) intent.deadlineAt = input.deadlineAt;
  else if (intent.deadlineAt !== null && isOverdue(intent, draft.now)) intent.deadlineAt = null;
  for (const known of draft.steps.values()) {
    if (known.status !== "failed") continue;
    const step = editStep(draft, known.key);
    step.status = "planned";
    step.wait = null;
  }
  draft.outcome = null;
  emit(draft, "intent.retried", { from, steps_kept: intent.stepsDone });
  assignAgain(draft);
}

/** What counts against an intent counts no more; `attempt` alone goes on growing (D1). */
export function resetCounters(draft: Draft): void {
  const { intent } = draft;
  intent.generation += 1;
  intent.strikes = 0;
  intent.totalLosses = 0;
  intent.retriesUsed = 0;
  intent.releases = 0;
  intent.terminalDigest = null;
  intent.availableAt = null;
  intent.wakeAt = null;
}

/** It is paused while anybody pauses it: its operator, or its session's (S5). */
export function pause(draft: Draft, reason: string | null, by: Pauser = "intent"): "paused" | "unchanged" {
  const { intent } = draft;
  if (isTerminal(intent.status)) {
    throw new Refusal("intent_terminal", `the intent already ended as ${intent.status}`, {
      status: intent.status,
    });
  }
  if (intent.pausedBy.includes(by)) return "unchanged";
  intent.pausedBy = [...intent.pausedBy, by];
  intent.paused = true;
  emit(draft, "intent.paused", {
    paused_by: intent.pausedBy,
    ...(reason === null ? {} : { reason }),
  });
  handBackIfPaused(draft);
  return "paused";
}

export function unpause(draft: Draft, by: Pauser = "intent"): "unpaused" | "unchanged" {
  const { intent } = draft;
  if (!intent.pausedBy.includes(by)) return "unchanged";
  intent.pausedBy = intent.pausedBy.filter((one) => one !== by);
  intent.paused = intent.pausedBy.length > 0;
  emit(draft, "intent.unpaused", { paused_by: intent.pausedBy });
  return "unpaused";
}

/** Everything that is due: deadline, attempt and step timeouts, the end of a delay. Returns true when something happened. */
export function tick(draft: Draft, limits: LossLimits): boolean {
  const { intent, now } = draft;
  if (isTerminal(intent.status)) return false;
  if (isOverdue(intent, now)) {
    timeOut(draft);
    return true;
  }
  const attemptEnds = attemptDeadline(intent);
  if (attemptEnds !== null && now >= attemptEnds) {
    lose(draft, "attempt_timeout", limits);
    return true;
  }
  if (intent.consumerId !== null && intent.stepDeadline !== null && now >= intent.stepDeadline) {
    lose(draft, "step_timeout", limits);
    return true;
  }
  if (intent.status === "WAITING" && tickWaits(draft)) return true;
  if (intent.availableAt !== null && now >= intent.availableAt) {
    intent.availableAt = null;
    return true;
  }
  return false;
}

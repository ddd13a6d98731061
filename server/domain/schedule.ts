// What follows from an intent's state alone: whether it stands in the queue, who holds a lease on it, and when
// something happens to it by itself. The store keeps the ready, leases and timers tables equal to these answers.

import type { Intent } from "./intent.ts";
import { isTerminal } from "./lifecycle.ts";

/** True when a consumer with free capacity may take the intent now (I7); a delay is lifted by its timer. */
export function isClaimable(intent: Intent): boolean {
  return (
    intent.consumerId === null &&
    !intent.paused &&
    intent.availableAt === null &&
    intent.status !== "CREATED" &&
    intent.status !== "WAITING" &&
    !isTerminal(intent.status)
  );
}

export function isOverdue(intent: Intent, now: number): boolean {
  return intent.deadlineAt !== null && now >= intent.deadlineAt;
}

export function attemptDeadline(intent: Intent): number | null {
  if (intent.consumerId === null || intent.attemptTimeoutMs === null || intent.deliveredAt === null)
    return null;
  return intent.deliveredAt + intent.attemptTimeoutMs;
}

/** The next instant at which the intent changes without anybody asking, or null. */
export function nextDueAt(intent: Intent): number | null {
  if (isTerminal(intent.status)) return null;
  const stepDeadline = intent.consumerId === null ? null : intent.stepDeadline;
  const wakeAt = intent.status === "WAITING" ? intent.wakeAt : null;
  const dues = [intent.deadlineAt, intent.availableAt, attemptDeadline(intent), stepDeadline, wakeAt];
  let due: number | null = null;
  for (const at of dues) if (at !== null && (due === null || at < due)) due = at;
  return due;
}

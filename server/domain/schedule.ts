// What follows from an intent's state alone: whether it stands in the queue, who holds a lease on it, and when
// something happens to it by itself. The store keeps the ready, leases and timers tables equal to these answers.

import type { Intent } from "./intent.ts";
import { isTerminal } from "./lifecycle.ts";

/** Whether anybody may go on with it now: nobody holds it, and nothing holds it back. */
function isFree(intent: Intent): boolean {
  return (
    intent.consumerId === null &&
    !intent.paused &&
    intent.availableAt === null &&
    intent.status !== "CREATED" &&
    intent.status !== "WAITING" &&
    !isTerminal(intent.status)
  );
}

/** True when a consumer with free capacity may take the intent now (I7); a delay is lifted by its timer. */
export const isClaimable = (intent: Intent): boolean => !intent.conducted && isFree(intent);

/** The same for the server, which leads some intents itself. */
export const isConductible = (intent: Intent): boolean => intent.conducted && isFree(intent);

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
  // Long past, so that its timer is due at once and stays so until the server has done its part.
  const conductAt = isConductible(intent) ? intent.createdAt : null;
  const dues = [
    intent.deadlineAt,
    intent.availableAt,
    attemptDeadline(intent),
    stepDeadline,
    wakeAt,
    conductAt,
  ];
  let due: number | null = null;
  for (const at of dues) if (at !== null && (due === null || at < due)) due = at;
  return due;
}

// Windows: requests for work that end after one delivery or after a while, made by agents that acknowledge nothing.
// What their frames say, which number a delivery gets, and what a newcomer may take over (X1, X2). Pure.

import type { LossLimits } from "./decide/attempt.ts";
import type { Intent } from "./intent.ts";
import type { Status } from "./lifecycle.ts";
import { isOverdue } from "./schedule.ts";

/** The status in a frame, by which these clients tell new work from work that was lost: the intent's own is IN_PROGRESS by then. */
export const frameStatus = (attempt: number): Status => (attempt <= 1 ? "DELIVERED" : "IN_PROGRESS");

/** Which deliveries a window takes. */
export interface Wanted {
  /** Those that nobody had before. */
  readonly first: boolean;
  /** Those that somebody had and lost, or handed back. */
  readonly again: boolean;
}

/** What a filter on the frame's status lets through; without one, everything. */
export function wantedBy(statuses: readonly Status[] | undefined): Wanted {
  if (statuses === undefined) return { first: true, again: true };
  return { first: statuses.includes("DELIVERED"), again: statuses.includes("IN_PROGRESS") };
}

/** A client shows its agent only what is beyond its cursor: also the same intent again, and also after another server's numbers. */
export const nextCursor = (counter: number, since: number): number => Math.max(counter, since) + 1;

/**
 * Whether whoever just started may end this attempt and have the next one. Never the last strike: agents that start together would
 * use up healthy work. Then the end of its lease decides (X2).
 */
export function mayBeTakenOver(intent: Intent, now: number, { maxTotalLosses }: LossLimits): boolean {
  return (
    intent.windowed &&
    !intent.paused &&
    !isOverdue(intent, now) &&
    intent.strikes + 1 < intent.maxDeliveryAttempts &&
    intent.totalLosses + 1 < maxTotalLosses
  );
}

/** How long a windowed lease lasts at least: a step that is allowed more time has it. Null: it may end now. */
export function leaseIsExtended(intent: Intent, now: number): number | null {
  return intent.windowed && intent.stepDeadline !== null && intent.stepDeadline > now
    ? intent.stepDeadline
    : null;
}

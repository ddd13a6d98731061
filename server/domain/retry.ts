// Delays: a handler's own failure (retry policy) and repeated hand-backs. Randomness is handed in.

import type { RetryPolicy } from "./intent.ts";

/** Delay before retry number `retry` (1-based), between half and the whole of the exponential step. */
export function retryDelayMs(policy: RetryPolicy, retry: number, random: number): number {
  const whole = Math.min(policy.maxDelayMs, policy.initialDelayMs * policy.factor ** (retry - 1));
  return Math.round(whole * (0.5 + random / 2));
}

const RELEASE_UNIT_MS = 100;
const RELEASE_CAP_MS = 30_000;

/** How long the nth consecutive release without progress stays away: the first is free, then a growing delay stops a hot loop. */
export function releaseDelayMs(releases: number): number {
  if (releases <= 1) return 0;
  return Math.min(RELEASE_CAP_MS, RELEASE_UNIT_MS * 2 ** Math.min(releases, 20));
}

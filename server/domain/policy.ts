// What may be changed of an intent under way: its times, its retries, its losses, its reminders. Which change is which
// member of a request is not known here.

import type { Intent } from "./intent.ts";

/** Each member that is there is changed; null takes a limit away. */
export interface PolicyPatch {
  readonly deadlineAt?: number | null;
  /** Relative to now; wins over `deadlineAt`. */
  readonly ttlMs?: number;
  readonly attemptTimeoutMs?: number | null;
  readonly maxDeliveryAttempts?: number;
  readonly maxRetries?: number;
  readonly retryDelayMs?: number;
  readonly paused?: boolean;
  readonly reminders?: ReminderPatch;
}

/** For the task that a person is asked to do now. */
export interface ReminderPatch {
  readonly remindAfterMs?: number;
  readonly remindIntervalMs?: number;
  readonly maxReminders?: number;
  readonly escalateTo?: string | null;
}

/** Grows with every change of the policy, retry and restore: whoever decided over an older one decided over another. */
export const policyGeneration = (intent: Pick<Intent, "generation" | "patches">): number =>
  intent.generation + intent.patches;

/** Whether what a caller saw is still so; null: it does not say. */
export const isStale = (
  intent: Pick<Intent, "generation" | "patches">,
  expected: number | null | undefined,
): boolean => expected != null && expected !== policyGeneration(intent);

// The fence: every agent write must carry the current, open attempt (I4); a stale one changes nothing but leaves a
// trace in the log.

import { type Draft, emit } from "../draft.ts";
import { isTerminal } from "../lifecycle.ts";
import { Refusal } from "../refusal.ts";

/** Refuses a write whose attempt is not the current, open one. */
export function requireOpenAttempt(draft: Draft, attempt: number): void {
  const { intent } = draft;
  if (attempt === intent.attempt && intent.consumerId !== null) return;
  throw staleAttempt(draft, attempt);
}

export function staleAttempt(draft: Draft, attempt: number): Refusal {
  const { intent } = draft;
  const details = {
    attempt,
    current_attempt: intent.attempt,
    open: intent.consumerId !== null,
    status: intent.status,
  };
  const why = isTerminal(intent.status)
    ? `the intent is ${intent.status}`
    : attempt === intent.attempt
      ? "that attempt has ended"
      : `the current attempt is ${intent.attempt}`;
  return new Refusal(
    "stale_attempt",
    `attempt ${attempt} may no longer write: ${why}. Stop working on this intent`,
    details,
  );
}

/** Leaves a trace of a refused late write: once per stale attempt, so that a looping zombie cannot fill the log. */
export function auditStaleWrite(draft: Draft, attempt: number, operation: string): boolean {
  const { intent } = draft;
  if (attempt > intent.attempt || attempt <= intent.refusedAttempt) return false;
  intent.refusedAttempt = attempt;
  emit(draft, "intent.stale_write_refused", { attempt, operation });
  return true;
}

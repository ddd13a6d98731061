// State in the scope of an intent: written by its holder, or by an operator beside it; each write is in the log (S7).

import { type Draft, emit } from "../draft.ts";
import { Refusal } from "../refusal.ts";
import type { StateVersion } from "../state.ts";
import { requireOpenAttempt } from "./fence.ts";

/** Whether this writer may change state on the intent's behalf now (D1). */
export function requireStateAccess(draft: Draft, attempt: number | null): void {
  if (attempt !== null) {
    requireOpenAttempt(draft, attempt);
    return;
  }
  if (!draft.actor.operator) {
    throw new Refusal(
      "attempt_required",
      "state of an intent is written by its holder: send the attempt you were given",
    );
  }
}

/** One entry of the log for all that one write changed. */
export function logState(draft: Draft, versions: readonly StateVersion[]): void {
  if (versions.length === 0) return;
  emit(draft, "intent.state_changed", {
    writes: versions.map(({ scope, key, version, value }) => ({
      scope,
      key,
      version,
      ...(value === null ? { deleted: true } : { value }),
    })),
  });
}

// Whether this very operation was done before (I11).

import { Refusal } from "../domain/refusal.ts";
import type { IdempotencyRecord, IdempotencyRef, Workspace } from "../store/workspace.ts";

/** The record of the first time; a key that was used for another request is refused. */
export function findReplay(work: Workspace, ref: IdempotencyRef | null): IdempotencyRecord | undefined {
  const known = ref === null ? undefined : work.record(ref);
  if (known === undefined || known.fingerprint === ref?.fingerprint) return known;
  throw new Refusal(
    "idempotency_mismatch",
    "this Idempotency-Key was used for a different request; use a new key",
    known.intentId === null ? {} : { intent_id: known.intentId },
  );
}

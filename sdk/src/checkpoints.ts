// Owns: what a named point of an intent's log looks like to users. Must not: do I/O.
import type { Wire } from "./intents.ts";

/** A named point of an intent's log, to which `client.restore` can take it back. */
export interface Checkpoint {
  name: string;
  /** The last event it covers. */
  seq: number;
  /** ISO 8601, of the server's database clock. */
  createdAt: string;
  createdBy: string;
  metadata: Record<string, string>;
  /** How many steps were done by then. */
  stepsDone: number;
}

export function presentCheckpoint(wire: Wire): Checkpoint {
  return {
    name: wire.name,
    seq: wire.seq,
    createdAt: wire.created_at,
    createdBy: wire.created_by,
    metadata: wire.metadata ?? {},
    stepsDone: wire.steps_done,
  };
}

// How things are in the end: what the judge holds against what clients were told.

import type { Logged } from "../../server/verify/log-rules.ts";
import type { Json } from "./history.ts";

/** An intent as it is in the end. */
export interface Final extends Logged {
  readonly payload: Json;
  readonly result: unknown;
  readonly parentId?: string | null;
  /** The step of its parent that it was sent from. */
  readonly parentStep?: string | null;
  /** The names of its checkpoints. */
  readonly checkpoints?: readonly string[];
}

/** A version of a state entry, as it is in the end. */
export interface FinalVersion {
  readonly scope: string;
  readonly key: string;
  readonly version: number;
  readonly value: unknown;
  /** The entry of its intent's log that says so. */
  readonly seq?: number | null;
}

export const TERMINAL: readonly string[] = ["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"];

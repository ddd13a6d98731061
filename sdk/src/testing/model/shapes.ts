// Owns: what the in-memory server keeps: intents, steps, waits, state. Plain data, and the log every change is told in.
import { PerdureError } from "../../errors.ts";
import type { Status, Wire } from "../../intents.ts";
import type { OnInterrupt } from "../../sending.ts";

export interface ModelStep {
  key: string;
  /** Its place in the plan; null for a step made on the way. */
  position: number | null;
  status: "planned" | "running" | "waiting" | "done" | "failed" | "interrupted";
  tries: number;
  attempt: number;
  interrupted: boolean;
  onInterrupt: OnInterrupt | null;
  timeoutMs: number | null;
  retry: Wire | null;
  startedAt: number | null;
  finishedAt: number | null;
  result: unknown;
  error: Wire | null;
  wait: ModelWait | null;
  /** The log entry that recorded it. */
  seq: number;
}

/** What a step waits for, as the wire has it; `dueAt` is when time ends it. */
export interface ModelWait {
  kind: "signal" | "time" | "intents" | "human";
  wire: Wire;
  dueAt: number | null;
  /** The intent is nothing but this task. */
  ends: boolean;
  /** Even as the plan's last step it leaves the intent to its agent. */
  keepOpen: boolean;
}

export interface ModelIntent {
  readonly id: string;
  readonly sent: Wire;
  /** `org/workspace/name`. */
  readonly address: string;
  readonly createdAt: number;
  readonly steps: Map<string, ModelStep>;
  readonly log: Wire[];
  readonly signals: { no: number; name: string; data: unknown; taken: boolean }[];
  readonly checkpoints: Map<string, Wire>;
  status: Status;
  reason: string | null;
  attempt: number;
  /** The process that has the open attempt. */
  holder: string | null;
  started: boolean;
  deliveredAt: number;
  strikes: number;
  totalLosses: number;
  retriesUsed: number;
  releases: number;
  planBy: "sender" | "agent" | null;
  openSteps: string[];
  availableAt: number | null;
  deadlineAt: number | null;
  refusedAttempt: number;
  /** By which the same end is known again. */
  ending: string | null;
  result: unknown;
  error: Wire | null;
}

export interface StateVersion {
  version: number;
  deleted: boolean;
  value: unknown;
  at: number;
}

export interface Model {
  now(): number;
  readonly intents: Map<string, ModelIntent>;
  /** By idempotency key: what was asked and answered. */
  readonly keys: Map<string, { asked: string; answer: Wire }>;
  /** By scope and key, the newest last. */
  readonly state: Map<string, Map<string, StateVersion[]>>;
}

export const newModel = (now: () => number): Model => ({
  now,
  intents: new Map(),
  keys: new Map(),
  state: new Map(),
});

export function log(model: Model, intent: ModelIntent, type: string, details: Wire | null = null): number {
  const seq = intent.log.length + 1;
  intent.log.push({
    intent_id: intent.id,
    seq,
    event_type: `intent.${type}`,
    status: intent.status,
    at: iso(model.now()),
    waiting_reason: intent.reason,
    actor: intent.holder ?? "test",
    attempt: intent.attempt > 0 ? intent.attempt : null,
    details: details === null ? null : structuredClone(details),
  });
  return seq;
}

export const iso = (ms: number): string => new Date(ms).toISOString();

export const isOver = ({ status }: ModelIntent): boolean =>
  status === "COMPLETED" || status === "FAILED" || status === "CANCELED" || status === "TIMED_OUT";

const STATUS_OF: Record<string, number> = { not_found: 404, state_not_found: 404, step_not_found: 404 };
const INVALID = new Set(["validation_failed", "not_a_child", "invalid_scope", "duplicate_key"]);

/** The refusal with the server's code. */
export function refusal(code: string, message: string, details?: unknown): PerdureError {
  const status = STATUS_OF[code] ?? (INVALID.has(code) ? 422 : 409);
  return new PerdureError(code, message, { status, ...(details === undefined ? {} : { details }) });
}

// Owns: what an intent, its events and its outcome look like to users, made from their wire form. Must not: do I/O.
import { present } from "./absent.ts";
import type { Failure } from "./errors.ts";

export type Status =
  | "CREATED"
  | "SUBMITTED"
  | "DELIVERED"
  | "ACKNOWLEDGED"
  | "IN_PROGRESS"
  | "WAITING"
  | "COMPLETED"
  | "FAILED"
  | "CANCELED"
  | "TIMED_OUT";

/** How an intent ended. `result` is the handler's JSON value; `error.code` is stable. */
export type Outcome<R = any> =
  | { id: string; status: "COMPLETED"; result: R }
  | { id: string; status: "FAILED" | "CANCELED" | "TIMED_OUT"; error: Failure };

/** An intent as it was when asked for. Times are ISO 8601 in UTC, of the server's database clock. */
export interface Intent<P = any, R = any> {
  id: string;
  intentType: string;
  status: Status;
  /** Present while WAITING: what for. */
  waitingReason?: string;
  toAgent: string;
  fromAgent: string;
  payload: P;
  /** Present once COMPLETED. */
  result?: R;
  /** Present once FAILED, CANCELED or TIMED_OUT. */
  error?: Failure;
  paused: boolean;
  session?: string;
  parentIntentId?: string;
  /** Grows by one with every delivery: the fence of late writes. */
  attempt: number;
  /** Deliveries lost since the last recorded progress; at `maxDeliveryAttempts` the intent fails. */
  lostDeliveries: number;
  maxDeliveryAttempts: number;
  /** Steps done; `total` when the plan is known; `current` is the key of the step at work. */
  progress: { done: number; total?: number; current?: string };
  /** Steps whose effect may or may not have happened; only of one intent that was asked for. */
  inDoubt?: string[];
  metadata: Record<string, string>;
  createdAt: string;
  updatedAt: string;
}

/** One line of an intent's log. `type` is the wire name, e.g. `intent.step_done`; `details` depends on it. */
export interface IntentEvent {
  intentId: string;
  /** 1, 2, 3 … without gaps: the cursor for `observe`. */
  seq: number;
  type: string;
  status: Status;
  at: string;
  actor: string;
  attempt?: number;
  details: any;
}

/** Why an intent is where it is, and what happens next. Times are ISO 8601. */
export interface Explanation {
  /** One sentence for people. */
  summary: string;
  status: Status;
  attempts: { attempt: number; consumer: string; deliveredAt: string; endedAt?: string; end?: string }[];
  next?: { what: string; at?: string };
}

/** A JSON object as it came from the server. */
export type Wire = Record<string, any>;

const TERMINAL: ReadonlySet<string> = new Set(["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"]);

/** Whether an intent of this status has ended. */
export function isTerminal(status: string): boolean {
  return TERMINAL.has(status);
}

export function presentIntent<P = any, R = any>(wire: Wire): Intent<P, R> {
  const { progress = {} } = wire;
  return {
    id: wire.intent_id,
    intentType: wire.intent_type,
    status: wire.status,
    ...present("waitingReason", wire.lifecycle_waiting_reason ?? wire.waiting_reason),
    toAgent: wire.to_agent,
    fromAgent: wire.from_agent,
    payload: wire.payload,
    ...(wire.status === "COMPLETED" ? { result: wire.result ?? null } : {}),
    ...present("error", presentFailure(wire.error)),
    paused: wire.paused ?? false,
    ...present("session", wire.session),
    ...present("parentIntentId", wire.parent_intent_id),
    attempt: wire.attempt ?? 0,
    lostDeliveries: wire.lost_deliveries ?? 0,
    maxDeliveryAttempts: wire.max_delivery_attempts,
    progress: {
      done: progress?.done ?? 0,
      ...present("total", progress?.total),
      ...present("current", progress?.current),
    },
    ...present("inDoubt", wire.in_doubt),
    metadata: wire.metadata ?? {},
    createdAt: wire.created_at,
    updatedAt: wire.updated_at,
  };
}

/** The outcome in a `GET /v1/intents/{id}` answer, or undefined while the intent has not ended. */
export function presentOutcome<R>(wire: Wire): Outcome<R> | undefined {
  const { status, intent_id: id } = wire;
  if (status === "COMPLETED") return { id, status, result: wire.result ?? null };
  if (!isTerminal(status)) return undefined;
  const error = presentFailure(wire.error) ?? {
    code: status.toLowerCase(),
    message: `the intent is ${status}`,
    retryable: false,
  };
  return { id, status, error };
}

export function presentEvent(wire: Wire): IntentEvent {
  return {
    intentId: wire.intent_id,
    seq: wire.seq,
    type: wire.event_type ?? wire.type,
    status: wire.status,
    at: wire.at,
    actor: wire.actor,
    ...present("attempt", wire.attempt),
    details: wire.details ?? {},
  };
}

export function presentFailure(wire: unknown): Failure | undefined {
  if (wire === null || wire === undefined) return undefined;
  if (typeof wire === "string") return { code: "failed", message: wire, retryable: false };
  const error = wire as Wire;
  return {
    code: error.code ?? "failed",
    message: error.message ?? "",
    retryable: error.retryable ?? false,
    ...present("details", error.details),
  };
}

export function presentExplanation(wire: Wire): Explanation {
  return {
    summary: wire.summary,
    status: wire.status,
    attempts: (wire.attempts ?? []).map((attempt: Wire) => ({
      attempt: attempt.attempt,
      consumer: attempt.consumer,
      deliveredAt: attempt.delivered_at,
      ...present("endedAt", attempt.ended_at),
      ...present("end", attempt.end),
    })),
    ...present(
      "next",
      wire.next === null || wire.next === undefined
        ? undefined
        : { what: wire.next.what, ...present("at", wire.next.at) },
    ),
  };
}

// Owns: the two errors of the SDK and how a thrown value becomes a failure on the wire. Must not: do I/O.
import type { Duration } from "./duration.ts";

/** Why an intent or a step failed. `code` is stable snake_case; branch on it, never on `message`. */
export interface Failure {
  code: string;
  message: string;
  /** Whether trying again could help. The intent's retry policy applies only when true. */
  retryable: boolean;
  details?: unknown;
}

export interface PerdureErrorOptions {
  retryable?: boolean | undefined;
  status?: number | undefined;
  requestId?: string | undefined;
  details?: unknown;
  cause?: unknown;
  retryAfterMs?: number | undefined;
}

/**
 * Anything the server refused, or that kept the SDK from asking it.
 *
 * Codes made by the SDK itself: `unreachable` (no answer came), `request_timeout`, `bad_response` (an answer that is not ours),
 * `wait_timeout`, `validation_failed`, `client_closed`, and, inside handlers, `attempt_ended` and `handing_back`. All other codes are the
 * server's.
 */
export class PerdureError extends Error {
  readonly code: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The HTTP status, when the server answered. */
  readonly status?: number;
  /** The server's `x-request-id`, to find the request in its log. */
  readonly requestId?: string;
  readonly details?: unknown;
  /** How long the server asked to wait before the next try, in milliseconds. */
  readonly retryAfterMs?: number;

  constructor(code: string, message: string, options: PerdureErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "PerdureError";
    this.code = code;
    this.retryable = options.retryable ?? false;
    if (options.status !== undefined) this.status = options.status;
    if (options.requestId !== undefined) this.requestId = options.requestId;
    if (options.details !== undefined) this.details = options.details;
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
  }

  /** Whether `e` is a PerdureError (of any loaded copy of this package), and of this code when one is given. */
  static is(e: unknown, code?: string): e is PerdureError {
    if (!(e instanceof Error) || e.name !== "PerdureError") return false;
    return code === undefined || (e as PerdureError).code === code;
  }
}

export interface IntentFailureOptions {
  /** Stable snake_case code, `handler_error` when left out. */
  code?: string;
  /** Default true: the step's or the intent's retry policy decides. False fails at once. */
  retryable?: boolean;
  /** The least delay before the next try, where a retry policy allows one. */
  retryAfter?: Duration;
  /** Any JSON value kept with the failure. */
  details?: unknown;
  cause?: unknown;
}

/**
 * Throw it from a handler or a step to choose the outcome. `ctx.step` throws it for a failed step, on the first run and on every replay
 * alike (the original error is its `cause` on the first run only: a `cause` does not survive a restart).
 */
export class IntentFailure extends Error {
  readonly code: string;
  readonly retryable: boolean;
  readonly retryAfter?: Duration;
  readonly details?: unknown;

  constructor(message: string, options: IntentFailureOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "IntentFailure";
    this.code = options.code ?? "handler_error";
    this.retryable = options.retryable ?? true;
    if (options.retryAfter !== undefined) this.retryAfter = options.retryAfter;
    if (options.details !== undefined) this.details = options.details;
  }
}

/** The server takes messages up to this long. */
export const LONGEST_MESSAGE = 2_000;

/** Turns whatever a handler threw into the failure the server records. Never carries a stack: it could hold secrets. */
export function describeFailure(thrown: unknown): IntentFailure {
  if (thrown instanceof IntentFailure) return thrown;
  if (PerdureError.is(thrown)) {
    const { code, message, retryable, details } = thrown;
    return new IntentFailure(message, {
      code,
      retryable,
      ...(details === undefined ? {} : { details }),
      cause: thrown,
    });
  }
  if (thrown instanceof Error) {
    const details = thrown.name === "Error" ? {} : { details: { name: thrown.name } };
    return new IntentFailure(thrown.message || thrown.name, { ...details, cause: thrown });
  }
  return new IntentFailure(typeof thrown === "string" ? thrown : `the handler threw ${String(thrown)}`, {
    cause: thrown,
  });
}

// The one table of errors a client can meet: code → HTTP status, whether repeating the same request can help, title.
// It knows nothing about requests or the database. Codes are stable: clients branch on them.

export interface ErrorKind {
  readonly status: number;
  /** The same request, unchanged, may succeed later. */
  readonly retryable: boolean;
  readonly title: string;
}

const kind = (status: number, title: string, retryable = false): ErrorKind =>
  Object.freeze({ status, retryable, title });

export const ERRORS = Object.freeze({
  // Not understood
  malformed_request: kind(400, "The request is not valid HTTP for this API"),
  malformed_json: kind(400, "The body is not valid JSON"),
  invalid_utf8: kind(400, "The body is not valid UTF-8"),
  request_timeout: kind(408, "The request did not arrive in time", true),
  payload_too_large: kind(413, "Too large"),
  results_too_large: kind(413, "The results of the intent's steps are too large in all"),
  uri_too_long: kind(414, "The URL is too long"),
  expectation_failed: kind(417, "The expectation cannot be met"),
  unsupported_media_type: kind(415, "Send application/json"),
  validation_failed: kind(422, "The request is not valid"),
  invalid_address: kind(422, "Not an agent address"),
  too_many_steps: kind(422, "Too many steps"),
  too_many_checkpoints: kind(422, "Too many checkpoints"),
  not_a_child: kind(422, "Not a child of this intent"),
  invalid_scope: kind(422, "Not a state scope"),
  duplicate_key: kind(422, "A key is written twice in one batch"),
  headers_too_large: kind(431, "The request headers are too large"),

  // Not allowed
  unauthorized: kind(401, "A valid API key is needed"),
  forbidden: kind(403, "Not allowed"),

  // Not there
  not_found: kind(404, "Not found"),
  step_not_found: kind(404, "No such step"),
  state_not_found: kind(404, "No such state entry"),
  parent_not_found: kind(404, "No such parent intent"),
  checkpoint_not_found: kind(404, "No such checkpoint"),
  session_not_found: kind(404, "No such session"),
  watcher_unknown: kind(404, "No such stream of outcomes here"),
  key_not_found: kind(404, "No such API key"),
  not_supported: kind(404, "Not supported by this server"),
  method_not_allowed: kind(405, "Method not allowed"),

  // Attempts and leases
  stale_attempt: kind(409, "The attempt is not the current, open one"),
  attempt_required: kind(409, "The attempt must be given"),
  not_delivered: kind(409, "The intent is not delivered"),
  not_claimable: kind(409, "The intent cannot be claimed now"),
  consumer_in_use: kind(409, "The consumer name is in use", true),
  consumer_superseded: kind(409, "Another process has taken this consumer name"),
  consumer_lost: kind(409, "The consumer is unknown or its lease ran out"),

  // Lifecycle
  intent_terminal: kind(409, "The intent has already ended"),
  already_finished: kind(409, "The intent was already finished differently"),
  already_submitted: kind(409, "The intent is already submitted"),
  not_submitted: kind(409, "The intent is not submitted yet"),
  intent_paused: kind(409, "The intent is paused"),
  intent_waiting: kind(409, "The intent is waiting"),
  not_waiting: kind(409, "The intent is not waiting"),
  not_retryable: kind(409, "The intent cannot be retried now"),
  parent_terminal: kind(409, "The parent intent has already ended"),

  // Steps
  plan_changed: kind(409, "The declared steps differ from the stored plan"),
  step_done: kind(409, "The step is already done"),
  step_not_in_doubt: kind(409, "The step is not in doubt"),
  steps_pending: kind(409, "Other steps are still running"),

  // Concurrency and repetition
  idempotency_mismatch: kind(409, "The idempotency key was used for another request"),
  version_conflict: kind(409, "The stored version is not the expected one"),
  already_decided: kind(409, "Already decided differently"),
  no_human_task: kind(409, "Nothing here waits for a person"),
  session_active: kind(409, "The session has live intents"),

  key_ended: kind(409, "The API key has ended"),

  // Not now
  too_many_signals: kind(429, "Too many unread signals", true),
  rate_limited: kind(429, "Too many requests", true),
  too_many_streams: kind(429, "Too many open streams", true),
  too_many_watches: kind(429, "Too many intents are watched", true),
  too_much_at_once: kind(429, "Too much at once", true),
  backlog_full: kind(429, "The agent's backlog is full", true),
  unavailable: kind(503, "The server cannot reach its database", true),
  outcome_unknown: kind(503, "The outcome is not known yet", true),
  undecided: kind(503, "Not decided in time", true),
  too_many_connections: kind(503, "Too many connections", true),
  shutting_down: kind(503, "The server is shutting down", true),

  // A bug
  internal_error: kind(500, "Internal error"),
});

export type ErrorCode = keyof typeof ERRORS;

/** A problem at one place of the request: JSON Pointer into the body, `?name` in the query, `:name` in the path. */
export interface FieldError {
  readonly pointer: string;
  readonly detail: string;
}

export interface ErrorExtras {
  readonly details?: unknown;
  /** Sent as an integer `Retry-After`. */
  readonly retryAfterSeconds?: number;
  readonly errors?: readonly FieldError[];
  readonly cause?: unknown;
}

/** A refusal a client should see. The message says what to do next. */
export class PerdureError extends Error {
  readonly code: ErrorCode;
  readonly details: unknown;
  readonly retryAfterSeconds: number | undefined;
  readonly errors: readonly FieldError[] | undefined;

  constructor(code: ErrorCode, message: string, extras: ErrorExtras = {}) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.name = "PerdureError";
    this.code = code;
    this.details = extras.details;
    this.retryAfterSeconds = extras.retryAfterSeconds;
    this.errors = extras.errors;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(ERRORS, code);
}

/** 422 `validation_failed` for one place of the request. */
export function invalid(pointer: string, detail: string): PerdureError {
  return new PerdureError("validation_failed", pointer === "" ? detail : `${pointer}: ${detail}`, {
    errors: [{ pointer, detail }],
  });
}

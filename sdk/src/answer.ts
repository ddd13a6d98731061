// Owns: what an HTTP answer, or one of a batch's answers, stands for. Must not: do I/O, or know the endpoints.
import { PerdureError } from "./errors.ts";

const LONGEST_RETRY_AFTER_MS = 60_000;

/** The error an answer stands for: `application/problem+json` of ours, or whatever a proxy in between made up. */
export function errorOf(response: Pick<Response, "status" | "headers">, text: string): PerdureError {
  const { status, headers } = response;
  let problem: unknown;
  try {
    problem = JSON.parse(text);
  } catch {
    // not ours: the status has to do
  }
  return refusalOf(status, problem, headers.get("x-request-id"), headers.get("retry-after"));
}

/** The error that a problem stands for, whichever way it came. `retryAfter` as the header has it. */
export function refusalOf(
  status: number,
  problem: unknown,
  requestId: string | null,
  retryAfter: string | null,
): PerdureError {
  const body = asObject(problem);
  const inner = asObject(body.error);
  const code = asText(body.code) ?? asText(inner.code) ?? codeOfStatus(status);
  const message =
    asText(body.detail) ?? asText(inner.message) ?? asText(body.title) ?? `the server answered ${status}`;
  return new PerdureError(code, message, {
    status,
    retryable: typeof body.retryable === "boolean" ? body.retryable : status === 429 || status >= 500,
    requestId: asText(body.request_id) ?? requestId ?? undefined,
    details: inner.details ?? body.errors,
    retryAfterMs: parseRetryAfter(retryAfter),
  });
}

/** `Retry-After` (whole seconds or an HTTP date) in milliseconds, at most a minute. */
export function parseRetryAfter(value: string | null, now: number = Date.now()): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1_000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), LONGEST_RETRY_AFTER_MS) : undefined;
}

export function parseBody(response: Pick<Response, "status" | "url">, text: string): unknown {
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch (cause) {
    throw notOurs(response, "something that is not JSON", cause);
  }
}

/** An answer that no server of ours gives. */
export function notOurs(
  response: Pick<Response, "status" | "url">,
  what: string,
  cause?: unknown,
): PerdureError {
  const message = `${response.url || "the server"} answered ${response.status} with ${what}`;
  return new PerdureError("bad_response", message, { status: response.status, cause });
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function asText(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function codeOfStatus(status: number): string {
  if (status === 401) return "unauthorized";
  if (status === 403) return "forbidden";
  if (status === 404) return "not_found";
  if (status === 429) return "rate_limited";
  return status >= 500 ? "unavailable" : "bad_response";
}

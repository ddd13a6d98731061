// Every error answer: one RFC 9457 body that AXP readers understand too. Known codes become their status; anything
// else is a bug, logged once with its cause and answered without telling what it was.

import { randomUUID } from "node:crypto";
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { encodeJson } from "../domain/raw-json.ts";
import { ERRORS, type ErrorCode, type FieldError, isErrorCode, PerdureError } from "../errors.ts";
import { isCodelessDisconnect } from "../store/connection.ts";

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly request_id: string;
  readonly retryable: boolean;
  readonly errors?: readonly FieldError[];
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly details: unknown };
}

export const PROBLEM_TYPE = "application/problem+json";
const DEFAULT_RETRY_SECONDS = 1;

/** Fastify's own refusals, as ours. */
const FASTIFY: { readonly [code: string]: readonly [ErrorCode, string] } = {
  FST_ERR_CTP_BODY_TOO_LARGE: [
    "payload_too_large",
    "the body is larger than this server accepts; send less, or in parts",
  ],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    "unsupported_media_type",
    "send the body with the header content-type: application/json",
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    "malformed_request",
    "the body is not as long as its Content-Length says; send it again",
  ],
  FST_ERR_BAD_URL: ["malformed_request", "the URL has a broken percent-encoding; encode each path segment"],
  FST_ERR_MAX_PARAM_LENGTH: ["uri_too_long", "a path segment is too long; shorten it"],
  FST_ERR_VALIDATION: ["validation_failed", "the request is not valid"],
};

/** PostgreSQL or the way to it is away, or a row is held for too long; told by code, never by message text. */
const DATABASE_AWAY =
  /^(?:ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|08...|25P0[34]|25006|55P03|57P0[1235]|53[13]00|58030)$/;

/** The error a client may see for whatever was thrown; undefined for a bug. */
export function presentable(thrown: unknown): PerdureError | undefined {
  if (thrown instanceof PerdureError) return thrown;
  if (!(thrown instanceof Error)) return undefined;
  const { code, details } = thrown as Error & { code?: unknown; details?: unknown };
  // Domain refusals carry one of our codes and nothing of HTTP.
  if (isErrorCode(code)) return refusal(code, thrown, details);
  if (isCodelessDisconnect(thrown)) return databaseAway(thrown);
  if (typeof code !== "string") return undefined;
  const known = FASTIFY[code];
  if (known !== undefined) return new PerdureError(known[0], known[1], { cause: thrown });
  // Node's word for a client that hung up in the middle of its body.
  if (code === "ECONNRESET" && thrown.message === "aborted")
    return new PerdureError("malformed_request", "the request ended in the middle of its body", {
      cause: thrown,
    });
  if (DATABASE_AWAY.test(code)) return databaseAway(thrown);
  return undefined;
}

/** A domain refusal may name the places of the request that are wrong, among its details. */
function refusal(code: ErrorCode, thrown: Error, details: unknown): PerdureError {
  const { errors, ...rest } = (details ?? {}) as { errors?: readonly FieldError[] };
  return new PerdureError(code, thrown.message, {
    details: rest,
    cause: thrown,
    ...(errors === undefined ? {} : { errors }),
    ...retryAfter(details),
  });
}

function databaseAway(cause: unknown): PerdureError {
  return new PerdureError(
    "unavailable",
    "the database cannot be reached; repeat the request, with its idempotency key if it writes",
    { cause },
  );
}

/** A refusal that knows when to come back says it in its details. */
function retryAfter(details: unknown): { retryAfterSeconds?: number } {
  const seconds = (details as { retry_after_seconds?: unknown } | null | undefined)?.retry_after_seconds;
  return typeof seconds === "number" ? { retryAfterSeconds: seconds } : {};
}

export function problemOf(error: PerdureError, requestId: string): Problem {
  const { status, title, retryable } = ERRORS[error.code];
  return {
    // No page is behind it: a name that does not depend on where the server runs.
    type: `urn:perdure:error:${error.code}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    request_id: requestId,
    retryable,
    ...(error.errors === undefined ? {} : { errors: error.errors }),
    error: { code: error.code, message: error.message, details: error.details ?? {} },
  };
}

function internal(cause: unknown): PerdureError {
  return new PerdureError(
    "internal_error",
    "something failed inside the server; its log has the cause under this request_id",
    { cause },
  );
}

/** What is told of whatever was thrown, and when the same request may be made again. A bug is logged here. */
export function problemFor(
  request: FastifyRequest,
  thrown: unknown,
): { readonly problem: Problem; readonly retryAfterSeconds?: number } {
  const known = presentable(thrown);
  const error = known ?? internal(thrown);
  if (known === undefined) request.log.error({ err: thrown }, "unexpected error");
  else if (error.code === "unavailable") request.log.warn({ err: thrown }, "the database cannot be reached");
  const problem = problemOf(error, request.id);
  // What `Retry-After` means is "the same request again": a client that obeys it must not repeat a hopeless one.
  if (!problem.retryable) return { problem };
  const seconds = Math.ceil(error.retryAfterSeconds ?? DEFAULT_RETRY_SECONDS);
  return { problem, retryAfterSeconds: Math.max(1, seconds) };
}

export function sendProblem(request: FastifyRequest, reply: FastifyReply, thrown: unknown): FastifyReply {
  const { problem, retryAfterSeconds } = problemFor(request, thrown);
  if (retryAfterSeconds !== undefined) reply.header("retry-after", String(retryAfterSeconds));
  if (problem.status === 401) reply.header("www-authenticate", "Bearer");
  return reply.code(problem.status).type(PROBLEM_TYPE).send(problem);
}

export function installProblems(app: FastifyInstance): void {
  app.server.on("checkExpectation", refuseExpectation);
  app.server.on("connect", (_request, socket: Socket) => {
    answerOnSocket(
      new PerdureError("method_not_allowed", "this server is no proxy: CONNECT leads nowhere"),
      socket,
    );
  });
  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, error));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] as string;
    const shown = `${request.method} ${path.slice(0, 200)}`;
    return sendProblem(
      request,
      reply,
      new PerdureError("not_found", `no route answers ${shown}; /openapi.json lists all of them`),
    );
  });
}

/** Node answers an `Expect` that it does not know with an empty 417 of its own. */
function refuseExpectation(request: IncomingMessage, response: ServerResponse): void {
  const refused = new PerdureError(
    "expectation_failed",
    "the only expectation this server meets is 100-continue; leave the header expect out",
  );
  const requestId = randomUUID();
  const body = encodeJson(problemOf(refused, requestId));
  // The body was not asked for and may come all the same.
  response.writeHead(refused.status, {
    "content-type": `${PROBLEM_TYPE}; charset=utf-8`,
    "content-length": Buffer.byteLength(body),
    "x-request-id": requestId,
    connection: "close",
  });
  response.end(body);
  request.resume();
}

/** For HTTP that never became a request; answers on the bare socket. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const refusal =
    error.code === "ERR_HTTP_REQUEST_TIMEOUT"
      ? new PerdureError("request_timeout", "the request did not arrive in time; send it again")
      : error.code === "HPE_HEADER_OVERFLOW"
        ? new PerdureError(
            "headers_too_large",
            "the URL and the headers are too large together; send fewer or shorter ones",
          )
        : new PerdureError("malformed_request", "this is not valid HTTP/1.1");
  answerOnSocket(refusal, socket);
}

function answerOnSocket(refusal: PerdureError, socket: Socket): void {
  const requestId = randomUUID();
  const body = encodeJson(problemOf(refusal, requestId));
  const head = [
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}`,
    `content-type: ${PROBLEM_TYPE}; charset=utf-8`,
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}

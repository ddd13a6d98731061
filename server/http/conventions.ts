// What holds for every request: ids and trace headers, idempotency keys, `wait`. It knows no route and no use case.

import { randomBytes, randomUUID } from "node:crypto";
import type { IncomingMessage, ServerOptions } from "node:http";
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  LogController,
} from "fastify";
import { invalid, PerdureError } from "../errors.ts";
import type { Limits } from "./limits.ts";
import { answerClientError, sendProblem } from "./problem.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Echoed or minted; also in the answer's `x-trace-id`. */
    traceId: string;
    /** The W3C header as sent, when it is valid. */
    traceparent: string | null;
  }
}

const PRINTABLE_ID = /^[\x21-\x7e]{1,128}$/;
const TRACEPARENT =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]{0,200})?$/;
const CHECK_CONNECTIONS_MS = 10_000;
export const WAIT_SECONDS_MAX = 55;

function header(headers: IncomingMessage["headers"], name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** What the Fastify constructor needs from here: limits, ids, and problem bodies for what never becomes a route. */
export function serverOptions(limits: Limits): FastifyServerOptions {
  const options: FastifyServerOptions & { http: ServerOptions } = {
    bodyLimit: limits.bodyMaxBytes,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.idleTimeoutMs,
    connectionTimeout: limits.stallTimeoutMs,
    // Node takes the longer of the two for the whole request, and looks only every so often.
    http: {
      headersTimeout: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs),
      connectionsCheckingInterval: Math.min(
        CHECK_CONNECTIONS_MS,
        limits.headersTimeoutMs,
        limits.requestTimeoutMs,
      ),
      maxHeaderSize: limits.headersMaxBytes,
      // Node would answer an empty 400 of its own; requireOneHost says what is wrong.
      requireHostHeader: false,
    },
    requestIdHeader: false,
    // windowed.ts refuses what comes while the server closes, and knows what must not be refused.
    return503OnClosing: false,
    genReqId: (request) => {
      const given = header(request.headers, "x-request-id");
      return given !== undefined && PRINTABLE_ID.test(given) ? given : randomUUID();
    },
    routerOptions: { maxParamLength: limits.pathSegmentMax },
    // request-log.ts writes the one line per request.
    logController: new LogController({ disableRequestLogging: true }),
    clientErrorHandler: (error, socket) => answerClientError(error, socket),
    frameworkErrors: (error, request, reply) => {
      const answer = reply as unknown as FastifyReply;
      answer.header("x-request-id", request.id);
      answer.serializer((payload) => JSON.stringify(payload));
      sendProblem(request as unknown as FastifyRequest, answer, error);
    },
  };
  return options;
}

/** Several hosts mean one thing to a proxy and another to us: whoever checks Host must see the only one. */
function requireOneHost({ raw }: FastifyRequest): void {
  if (raw.httpVersionMajor !== 1)
    throw new PerdureError(
      "malformed_request",
      "this server speaks HTTP/1.1; name the version after the path",
    );
  let hosts = 0;
  for (let i = 0; i < raw.rawHeaders.length; i += 2)
    if (raw.rawHeaders[i]?.toLowerCase() === "host") hosts += 1;
  if (hosts === 1 || (hosts === 0 && raw.httpVersionMinor === 0)) return;
  throw new PerdureError("malformed_request", `send exactly one Host header; this request has ${hosts}`);
}

export function installConventions(app: FastifyInstance): void {
  app.decorateRequest("traceId", "");
  app.decorateRequest("traceparent", null);
  app.addHook("onRequest", (request, reply, done) => {
    const parent = header(request.headers, "traceparent");
    const match = parent === undefined ? null : TRACEPARENT.exec(parent);
    if (match !== null && parent !== undefined) request.traceparent = parent;
    const given = header(request.headers, "x-trace-id");
    request.traceId =
      given !== undefined && PRINTABLE_ID.test(given)
        ? given
        : (match?.[1] ?? randomBytes(16).toString("hex"));
    for (const [name, value] of Object.entries(answerIds(request))) reply.header(name, value);
    requireOneHost(request);
    done();
  });
}

/** The id headers of an answer, for replies that Fastify does not write (streams). */
export function answerIds(request: FastifyRequest): { "x-request-id": string; "x-trace-id": string } {
  return { "x-request-id": request.id, "x-trace-id": request.traceId };
}

/** The `Idempotency-Key` of a write; null without one. */
export function idempotencyKey(request: FastifyRequest, limits: Limits): string | null {
  const key = header(request.headers, "idempotency-key");
  if (key === undefined) return null;
  if (key === "" || key.length > limits.keyMax || !/^[\x20-\x7e]+$/.test(key)) {
    throw invalid("header idempotency-key", `must be 1 to ${limits.keyMax} printable ASCII characters`);
  }
  return key;
}

/** `Prefer: return=minimal`: what the caller has just sent need not come back, nor what it did not ask about. */
export function wantsMinimum(request: FastifyRequest): boolean {
  const prefer = header(request.headers, "prefer");
  return prefer !== undefined && /(?:^|[,;\s])return\s*=\s*"?minimal\b/i.test(prefer);
}

/** Seconds to hold the answer: `?wait=N`, else `Prefer: wait=N` (a preference, so it is capped rather than refused). */
export function waitSeconds(request: FastifyRequest, fromQuery: number | undefined): number {
  if (fromQuery !== undefined) return fromQuery;
  const prefer = header(request.headers, "prefer");
  const match = prefer === undefined ? null : /(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?/i.exec(prefer);
  return match === null ? 0 : Math.min(Number(match[1]), WAIT_SECONDS_MAX);
}

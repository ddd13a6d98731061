// Which web pages may read answers in a browser: none, unless PERDURE_CORS_ORIGINS names their exact origins. It grants
// reading, not rights: keys are asked for all the same, and cookies play no part.

import type { ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";

const METHODS = "GET, HEAD, POST, PUT, DELETE";
const REQUEST_HEADERS = [
  "authorization",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "last-event-id",
  "prefer",
  "traceparent",
  "x-api-key",
  "x-owner-agent",
  "x-request-id",
  "x-trace-id",
].join(", ");
const ANSWER_HEADERS =
  "etag, idempotent-replayed, ratelimit, ratelimit-policy, retry-after, x-request-id, x-trace-id";
const PREFLIGHT_SECONDS = "600";

/** Before auth: a browser asks without a key whether it may send one, and wants to read a refusal, too. */
export function installCors(app: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  const allowed = new Set(origins);
  const anyone = allowed.has("*");
  app.addHook("onRequest", (request, reply, done) => {
    const { origin } = request.headers;
    // Caches must not hand the answer for one origin, or for none, to another.
    if (!anyone) reply.raw.setHeader("vary", "Origin");
    if (origin === undefined || !(anyone || allowed.has(origin))) return done();
    grant(reply.raw, anyone ? "*" : origin);
    const isPreflight =
      request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
    if (!isPreflight) return done();
    reply.hijack();
    answerPreflight(reply.raw);
  });
}

/** On the plain response, because event streams are written there. */
function grant(response: ServerResponse, origin: string): void {
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-expose-headers", ANSWER_HEADERS);
}

function answerPreflight(response: ServerResponse): void {
  response.writeHead(204, {
    "access-control-allow-methods": METHODS,
    "access-control-allow-headers": REQUEST_HEADERS,
    "access-control-max-age": PREFLIGHT_SECONDS,
  });
  response.end();
}

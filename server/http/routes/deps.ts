// What the routes are handed. Explicit, so that a reader sees what a route can touch.

import { hash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance, FastifyRequest, RawServerDefault } from "fastify";
import type { FastifyBaseLogger } from "fastify/types/logger.js";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { AgentStreams } from "../../delivery/agent-streams.ts";
import type { Closings } from "../../delivery/closings.ts";
import type { Dispatcher } from "../../delivery/dispatcher.ts";
import type { FeedTail } from "../../delivery/feed-tail.ts";
import { FrameStream } from "../../delivery/frame-stream.ts";
import type { OutcomeStreams } from "../../delivery/outcome-streams.ts";
import type { OwedCursors } from "../../delivery/owed-cursors.ts";
import type { Wakeups } from "../../delivery/wakeups.ts";
import type { Windows } from "../../delivery/windows.ts";
import type { Actor } from "../../domain/intent.ts";
import type { Engine } from "../../engine/context.ts";
import type { Metrics } from "../../observability/metrics.ts";
import type { IdempotencyRef } from "../../store/workspace.ts";
import { clientOf, type StreamCounts } from "../clients.ts";
import { answerIds, idempotencyKey } from "../conventions.ts";
import type { KeyRing } from "../key-ring.ts";
import type { Limits } from "../limits.ts";
import type { RequestSchemas } from "../schemas/requests.ts";

export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export interface RouteDeps {
  readonly engine: Engine;
  readonly wakeups: Wakeups;
  readonly streams: AgentStreams;
  readonly closings: Closings;
  readonly outcomes: OutcomeStreams;
  readonly dispatcher: Dispatcher;
  readonly windows: Windows;
  readonly owed: OwedCursors;
  readonly feed: FeedTail;
  readonly limits: Limits;
  readonly schemas: RequestSchemas;
  readonly metrics: Metrics;
  readonly keys: KeyRing;
  readonly maxDeliveryAttempts: number;
  /** State versions kept of each key of an intent that does not say; null: all. */
  readonly keepVersions: number | null;
  readonly pollMs: number;
  readonly keepAliveMs: number;
  readonly streamMaxAgeMs: number;
  /** Aborts when the server begins to go away: long answers end then. */
  readonly draining: AbortSignal;
  readonly leaseEndsIn: (ms: number) => void;
  readonly isReady: () => boolean;
  readonly streamCounts: StreamCounts;
  /** Whether requests are told apart by key; else by remote address. */
  readonly keyed: boolean;
}

export function actorOf(request: FastifyRequest): Actor {
  const { principal } = request;
  const { access, operator } = principal;
  return { name: principal.ownerAgent ?? principal.sender, operator, access };
}

/** The Idempotency-Key of a write, if it has one; the same request is the same URL and body. */
export function idempotencyOf(
  deps: RouteDeps,
  request: FastifyRequest,
  operation: string,
): IdempotencyRef | null {
  const key = idempotencyKey(request, deps.limits);
  if (key === null) return null;
  const { principal } = request;
  const fingerprint = hash("sha256", `${request.url}\n${request.bodyText}`, "base64url");
  return {
    namespace: principal.namespace,
    sender: principal.ownerAgent ?? principal.sender,
    operation,
    key,
    fingerprint,
  };
}

/** Agents that listen here at an address, in streams and in windows. */
export const listenersAt = ({ streams, windows }: RouteDeps, address: string): number =>
  streams.at(address).length + windows.count(address);

/** Before anything else is done for a stream, or for an answer that will be held: 429 when its client has as many as it may. */
export function countStream(deps: RouteDeps, request: FastifyRequest, reply: { raw: ServerResponse }): void {
  const { streamsPerClientMax } = deps.limits;
  const client = clientOf(request, deps.keyed);
  deps.streamCounts.enter(client, streamsPerClientMax, "PERDURE_STREAMS_PER_CLIENT_MAX", reply);
}

/** Takes the response over from Fastify and opens a frame stream that ends with the server's drain. */
export function openFrames(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: { hijack(): unknown; raw: ServerResponse },
  kind: "agent" | "intent" | "outcomes" | "feed",
  /** Ends it another way than with a word of why. */
  end?: () => void,
): FrameStream {
  reply.hijack();
  const frames = new FrameStream(reply.raw, {
    keepAliveMs: deps.keepAliveMs,
    headers: answerIds(request),
    onSlow: () => deps.metrics.slowReaderDropped(),
  });
  const closed = deps.metrics.streamOpened(kind);
  const endFor = (reason: string) => () => {
    if (end !== undefined) return end();
    if (kind === "agent" && reason === "shutdown") frames.send({ event: "stream.drain", data: { reason } });
    frames.send({ event: "stream.end", data: { reason } });
    frames.end();
  };
  const release = whileKeyLives(deps, request, endFor("key_ended"));
  const goodbye = endFor("shutdown");
  deps.draining.addEventListener("abort", goodbye);
  // Jitter keeps a fleet that connected at once from coming back at once.
  const rotation = setTimeout(endFor("rotate"), deps.streamMaxAgeMs * (0.8 + 0.4 * Math.random()));
  rotation.unref();
  frames.onClose(() => {
    closed();
    release();
    clearTimeout(rotation);
    deps.draining.removeEventListener("abort", goodbye);
  });
  if (deps.draining.aborted) goodbye();
  return frames;
}

/** Calls `end` when the caller's key ends, unless the answer is released before. */
export function whileKeyLives(deps: RouteDeps, { principal }: FastifyRequest, end: () => void): () => void {
  return principal.keyId === null ? () => undefined : deps.keys.hold(principal.keyId, end);
}

/** For an answer that is held for at most `seconds`. */
export function waitOptions(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: { raw: ServerResponse },
  seconds: number,
) {
  const { access } = request.principal;
  return { ms: seconds * 1000, pollMs: deps.pollMs, signal: waitSignal(deps, request, reply), access };
}

/** Aborts when the client has gone, its key has ended, the answer is sent, or the server drains: nobody waits for nobody. */
export function waitSignal(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: { raw: ServerResponse },
): AbortSignal {
  const controller = new AbortController();
  const abort = () => controller.abort();
  // Gone already: its end has been told, and would never be heard here.
  if (reply.raw.destroyed) abort();
  if (controller.signal.aborted) return controller.signal;
  // One listener per wait, removed with it: AbortSignal.any would keep a reference on the server's own signal.
  deps.draining.addEventListener("abort", abort);
  const release = whileKeyLives(deps, request, abort);
  reply.raw.once("close", () => {
    release();
    deps.draining.removeEventListener("abort", abort);
    abort();
  });
  if (deps.draining.aborted) abort();
  return controller.signal;
}

// A window of work for agents that ask again and again and acknowledge nothing (WIRE 3). Whatever goes wrong once it is open, its
// answer ends in order.

import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import { FrameStream } from "../../delivery/frame-stream.ts";
import { openWindow } from "../../delivery/window-session.ts";
import type { Address } from "../../domain/address.ts";
import { wantedBy } from "../../domain/window.ts";
import { accountOf } from "../auth.ts";
import { answerIds } from "../conventions.ts";
import type { RequestSchemas } from "../schemas/requests.ts";
import { type RouteDeps, whileKeyLives } from "./deps.ts";

/** Who comes to a server that is going away is not sent off at once: it would be back at once. */
const GOING_AWAY_MS = 500;

export function streamWindow(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  address: Address,
): void {
  const query = request.query as z.output<RequestSchemas["agentStream"]>;
  const waitMs = (query.wait_seconds ?? 1) * 1_000;
  const goingAway = deps.draining.aborted;
  reply.hijack();
  const frames = new FrameStream(reply.raw, { keepAliveMs: deps.keepAliveMs, headers: answerIds(request) });
  const closed = deps.metrics.streamOpened("agent");
  const end = openWindow(
    {
      engine: deps.engine,
      windows: deps.windows,
      owed: deps.owed,
      onError: (error) => request.log.warn({ err: error }, "a window is held without the database"),
    },
    {
      namespace: address.namespace,
      address: address.canonical,
      account: accountOf(request),
      since: query.since ?? 0,
      waitMs: goingAway ? Math.min(waitMs, GOING_AWAY_MS) : waitMs,
      intentTypes: query.intent_types ?? null,
      wanted: wantedBy(query.status),
      listens: !goingAway && !request.heldOnly,
    },
    frames,
  );
  const release = whileKeyLives(deps, request, end);
  if (!goingAway) deps.draining.addEventListener("abort", end);
  frames.onClose(() => {
    closed();
    release();
    deps.draining.removeEventListener("abort", end);
  });
}

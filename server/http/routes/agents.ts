// How agents get work: the live stream, its long-poll twin, and consumer heartbeats.

import { randomUUID } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import { openAgentSession } from "../../delivery/agent-session.ts";
import { buildFrames } from "../../delivery/frames.ts";
import { nextWake } from "../../delivery/wakeups.ts";
import { maySee } from "../../domain/access.ts";
import type { Address } from "../../domain/address.ts";
import { claimIntents } from "../../engine/claim.ts";
import { connectConsumer } from "../../engine/connect.ts";
import { heartbeatConsumer } from "../../engine/consumers.ts";
import { PerdureError } from "../../errors.ts";
import { findIntents } from "../../store/queries/intents.ts";
import { type Principal, requireStandIn } from "../auth.ts";
import type { RequestSchemas } from "../schemas/requests.ts";
import { ADDRESS_PATHS, addressIn } from "./addresses.ts";
import { type App, countStream, openFrames, type RouteDeps, waitSignal } from "./deps.ts";
import { streamWindow } from "./windows.ts";

/** Work at an address is taken by keys that stand for it. */
function addressOf(request: FastifyRequest): Address {
  const address = addressIn(request);
  // Whose key it is could not be asked: such a window is only held.
  if (!request.unverified) requireStandIn(request.principal.access, address.canonical);
  return address;
}

/** What others hold just now may be free again without a word. */
const CONTESTED_MS = 50;

const randomName = (): string => `anonymous-${randomUUID().slice(0, 8)}`;

const STREAM_DESCRIPTION = `Without \`wait_seconds\` a live stream: held open, with a lease that the stream or heartbeats renew.

With \`wait_seconds\` (1 to 60) a window, for agents that acknowledge nothing: the answer ends right after one delivery, or with
\`stream.timeout {ok, next_seq}\` when there was none in that time. \`since\` is the highest \`seq\` that was delivered here; every delivery
and redelivery has a higher one. \`status\` (a comma list) filters by the frame's status: \`DELIVERED\` the first time, \`IN_PROGRESS\` when
somebody had it before. A delivery is its own acknowledgement, and is its agent's for the windowed lease (300 s, or as long as its
running step may take); \`resolve\` and \`resume\` need no attempt. A request whose \`since\` is not expected comes from an agent that was just
started: after a hold-off of 2 s it has what its predecessor had. Windows are never answered 429 or 5xx; \`consumer\`, \`incarnation\`,
\`capacity\` and \`lease_ttl_seconds\` have no effect on them. A delivery too large for a frame says \`fetch: true\`.`;

type StreamQuery = z.output<RequestSchemas["agentStream"]>;

async function streamAgent(deps: RouteDeps, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const query = request.query as StreamQuery;
  if (query.wait_seconds !== undefined) return streamWindow(deps, request, reply, addressOf(request));
  if (deps.draining.aborted)
    throw new PerdureError("shutting_down", "the server is shutting down; connect again in a moment", {
      retryAfterSeconds: 1,
    });
  const address = addressOf(request);
  countStream(deps, request, reply);
  deps.streamCounts.enter(
    address.canonical,
    deps.limits.streamsPerAddressMax,
    "PERDURE_STREAMS_PER_ADDRESS_MAX",
    reply,
    query.consumer,
  );
  const leaseTtlMs =
    query.lease_ttl_seconds === undefined
      ? deps.engine.settings.leaseTtlMs
      : Math.round(query.lease_ttl_seconds * 1000);
  await openAgentSession(
    {
      engine: deps.engine,
      streams: deps.streams,
      dispatcher: deps.dispatcher,
      closings: deps.closings,
      onError: (error) =>
        request.log.warn({ err: error }, "an agent stream could not be opened or closed in order"),
    },
    {
      namespace: address.namespace,
      address: address.canonical,
      name: query.consumer ?? randomName(),
      incarnation: query.incarnation ?? randomUUID(),
      mode: "stream",
      explicitAck: query.ack === "explicit",
      capacity: query.capacity,
      intentTypes: query.intent_types ?? null,
      leaseTtlMs,
    },
    () => openFrames(deps, request, reply, "agent"),
  );
}

async function claimForAgent(deps: RouteDeps, request: FastifyRequest, reply: FastifyReply) {
  const body = request.body as z.output<RequestSchemas["claim"]>;
  const address = addressOf(request);
  if (body.wait_seconds > 0) countStream(deps, request, reply);
  const leaseTtlMs = Math.round(body.lease_seconds * 1000);
  const name = body.consumer ?? randomName();
  const stopWaiting = waitSignal(deps, request, reply);
  const connection = await connectConsumer(deps.engine, {
    namespace: address.namespace,
    address: address.canonical,
    name,
    // Without one, every process of that name is the same agent: an anonymous loop in a shell.
    incarnation: body.incarnation ?? name,
    mode: "claim",
    explicitAck: false,
    capacity: body.max + body.holding.length,
    intentTypes: body.intent_types ?? null,
    leaseTtlMs,
  });
  deps.leaseEndsIn(leaseTtlMs + 5);
  const known = new Set(body.holding.map((one) => `${one.intent_id} ${one.attempt}`));
  // Held but not known to the client: the answer that carried it was lost. It is sent again, same attempt.
  const again = connection.held.filter((lease) => !known.has(`${lease.intent_id} ${lease.attempt}`));
  const answer = { ok: true, consumer_id: connection.consumerId, lease_ttl_ms: leaseTtlMs };
  if (again.length > 0) {
    const frames = await buildFrames(
      deps.engine,
      again.map((lease) => ({ intentId: lease.intent_id, attempt: lease.attempt })),
    );
    if (frames.length > 0) return { ...answer, deliveries: frames.map((frame) => frame.data) };
  }
  const until = performance.now() + Math.min(body.wait_seconds, leaseTtlMs / 2000) * 1000;
  let pauseMs = deps.pollMs;
  // Whatever woke it: a client that has gone would take work with it.
  while (!stopWaiting.aborted) {
    let woken = false;
    const unsubscribe = deps.wakeups.addresses.on(address.canonical, () => {
      woken = true;
    });
    try {
      const { delivered, contested } = await claimIntents(deps.engine, [
        { consumerId: connection.consumerId, streamNo: connection.streamNo, want: body.max },
      ]);
      if (delivered.length > 0)
        return {
          ...answer,
          deliveries: (await buildFrames(deps.engine, delivered)).map((frame) => frame.data),
        };
      pauseMs = contested.length > 0 ? Math.min(CONTESTED_MS, deps.pollMs) : deps.pollMs;
    } finally {
      unsubscribe();
    }
    const left = until - performance.now();
    if (left <= 0) break;
    if (!woken)
      await nextWake(
        (listener) => deps.wakeups.addresses.on(address.canonical, listener),
        Math.min(left, pauseMs),
        stopWaiting,
      );
  }
  return { ...answer, deliveries: [] };
}

async function answerHeartbeat(
  deps: RouteDeps,
  { access }: Principal,
  consumerId: string,
  body: z.output<RequestSchemas["heartbeat"]>,
) {
  const stream = deps.streams.get(consumerId);
  const movesBefore = stream?.moves ?? 0;
  const beat = await heartbeatConsumer(deps.engine, {
    consumerId,
    incarnation: body.incarnation ?? null,
    capacity: body.capacity ?? null,
    access,
  });
  if (stream !== undefined) {
    deps.streams.believe(stream, movesBefore, beat.held.length);
    if (body.capacity != null && stream.capacity !== body.capacity) {
      stream.capacity = body.capacity;
      deps.dispatcher.wake(stream.address);
    }
  }
  const heldAttempts = new Map(beat.held.map((lease) => [lease.intent_id, lease.attempt]));
  const gone = body.holding.filter((one) => heldAttempts.get(one.intent_id) !== one.attempt);
  const ids = [...new Set([...heldAttempts.keys(), ...gone.map((one) => one.intent_id)])];
  const records = ids.length === 0 ? new Map() : await findIntents(deps.engine.store, ids);
  // What is said to be held may be anybody's.
  for (const [id, { intent }] of records) if (!maySee(access, intent)) records.delete(id);
  const lost: object[] = [];
  const canceled: object[] = [];
  for (const one of gone) {
    const status = records.get(one.intent_id)?.intent.status;
    if (status === "CANCELED" || status === "TIMED_OUT")
      canceled.push({ ...one, status, reason: status.toLowerCase() });
    else lost.push({ ...one, reason: status === undefined ? "unknown" : "attempt_ended" });
  }
  const held = beat.held.map((lease) => {
    const paused = records.get(lease.intent_id)?.intent.paused === true;
    return { intent_id: lease.intent_id, attempt: lease.attempt, cancel: false, pause: paused };
  });
  const paused = held.filter((one) => one.pause).map(({ intent_id, attempt }) => ({ intent_id, attempt }));
  return { ok: true, lease_ttl_ms: beat.leaseTtlMs, held, lost, canceled, paused };
}

export function agentRoutes(app: App, deps: RouteDeps): void {
  const { schemas } = deps;
  const tags = ["agents"];
  for (const path of ADDRESS_PATHS) {
    const hide = path !== ADDRESS_PATHS[0];
    app.get(
      `${path}/intents/stream`,
      {
        // A HEAD would be a consumer that nobody can hear.
        exposeHeadRoute: false,
        config: { needs: "act", windows: true },
        schema: {
          querystring: schemas.agentStream,
          tags,
          hide,
          summary: "Listen for intents (server-sent events)",
          description: STREAM_DESCRIPTION,
        },
      },
      (request, reply) => streamAgent(deps, request, reply),
    );
    app.post(
      `${path}/claim`,
      {
        config: { needs: "act" },
        schema: { body: schemas.claim, tags, hide, summary: "Take intents by long poll" },
      },
      (request, reply) => claimForAgent(deps, request, reply),
    );
  }
  app.post(
    "/v1/consumers/:id/heartbeat",
    {
      config: { needs: "act", batch: "consumer_heartbeat" },
      schema: {
        params: schemas.params.consumer,
        body: schemas.heartbeat,
        tags,
        summary: "Renew the lease, compare what is held",
      },
    },
    (request) => answerHeartbeat(deps, request.principal, request.params.id, request.body),
  );
}

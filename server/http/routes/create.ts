// POST /v1/intents and /v1/intents/batch.

import { hash } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { waitForEnd } from "../../delivery/event-stream.ts";
import { maySendTo } from "../../domain/access.ts";
import { type Address, formatAddress, parseAddress } from "../../domain/address.ts";
import { newId } from "../../domain/ids.ts";
import { encodeJson, RawJson } from "../../domain/raw-json.ts";
import { Refusal } from "../../domain/refusal.ts";
import { type Submission, submitIntents } from "../../engine/submit.ts";
import { invalid, PerdureError } from "../../errors.ts";
import type { IdempotencyRef } from "../../store/workspace.ts";
import { intentView } from "../../wire/views.ts";
import { type Principal, requireStandIn } from "../auth.ts";
import { idempotencyKey, waitSeconds } from "../conventions.ts";
import type { Limits } from "../limits.ts";
import type { CreateBody } from "../schemas/requests.ts";
import { type App, actorOf, countStream, listenersAt, type RouteDeps, waitOptions } from "./deps.ts";

const EMPTY = new RawJson("{}");
const toMs = (seconds: number | null | undefined): number | null =>
  seconds == null ? null : Math.round(seconds * 1000);

/** Whose inbox an end appears in: one to which its sender may send. */
export function replyAddress(principal: Principal, replyTo: string | null | undefined): string | null {
  if (replyTo == null) return null;
  const address = parseAddress(replyTo, principal.namespace);
  requireMaySend(principal, address);
  return address.canonical;
}

export function requireMaySend({ access }: Principal, { canonical, namespace }: Address): void {
  if (maySendTo(access, canonical, namespace)) return;
  throw new PerdureError(
    "forbidden",
    `this key may not send to ${formatAddress(canonical)}: it is in another namespace, and no pattern covers it`,
  );
}

/** Nobody sends in the name of an address that its key does not stand for. */
function senderOf({ access, namespace, ownerAgent, sender }: Principal, body: CreateBody): string {
  if (body.from_agent === undefined) return ownerAgent ?? sender;
  requireStandIn(access, parseAddress(body.from_agent, namespace).canonical);
  return body.from_agent;
}

function submission(deps: RouteDeps, request: FastifyRequest, body: CreateBody): Submission {
  const { principal } = request;
  const address = parseAddress(body.to_agent, principal.namespace);
  requireMaySend(principal, address);
  const fromAgent = senderOf(principal, body);
  const id = newId();
  return {
    intent: {
      id,
      namespace: address.namespace,
      toAgent: address.canonical,
      sentBy: parseAddress(fromAgent, principal.namespace).canonical,
      intentType: body.intent_type,
      priority: body.priority,
      deliverAt: body.deliver_at ?? null,
      deadlineAt: body.deadline_at ?? null,
      ttlMs: toMs(body.ttl_seconds),
      maxDeliveryAttempts: body.max_delivery_attempts ?? deps.maxDeliveryAttempts,
      attemptTimeoutMs: toMs(body.attempt_timeout_seconds),
      onInterrupt: body.on_interrupt ?? null,
      retry: body.retry ?? null,
      steps: body.steps ?? [],
      parentId: body.parent_intent_id ?? null,
      humanTask: body.human_task ?? null,
      keepVersions: keptVersions(deps, body.retention?.keep),
      retainMs: toMs(body.retention?.max_age_seconds),
    },
    data: {
      id,
      namespace: address.namespace,
      fromAgent: fromAgent,
      toAgent: address.canonical,
      toAgentAsSent: body.to_agent,
      intentType: body.intent_type,
      payload: body.payload ?? EMPTY,
      metadata: body.metadata,
      correlationId: body.correlation_id ?? null,
      session: body.session ?? null,
      sessionNamespace: body.session == null ? null : principal.namespace,
      parentIntentId: body.parent_intent_id ?? null,
      parentStep: body.parent_step ?? null,
      detached: body.detached,
      replyTo: body.reply_to ?? null,
      replyToAddress: replyAddress(principal, body.reply_to),
      scenario: null,
      retention: body.retention == null ? null : RawJson.of(body.retention),
      traceparent: request.traceparent,
    },
    parentAttempt: body.parent_attempt ?? null,
  };
}

/** Null keeps every version. */
function keptVersions(deps: RouteDeps, keep: "all" | "latest" | number | null | undefined): number | null {
  if (keep === "all") return null;
  return (keep === "latest" ? 1 : keep) ?? deps.keepVersions;
}

/** The same request has the same fingerprint, whatever correlation id a retrying client makes up and in whichever attempt it repeats it. */
function fingerprint(bodies: readonly CreateBody[]): string {
  const text = encodeJson(bodies.map(({ correlation_id: _, parent_attempt: __, ...body }) => body));
  return hash("sha256", text, "base64url");
}

function idempotencyRef(
  deps: RouteDeps,
  request: FastifyRequest,
  operation: string,
  bodies: readonly CreateBody[],
): IdempotencyRef | null {
  const key = idempotencyKey(request, deps.limits);
  if (key === null) return null;
  const { principal } = request;
  return {
    namespace: principal.namespace,
    sender: principal.ownerAgent ?? principal.sender,
    operation,
    key,
    fingerprint: fingerprint(bodies),
  };
}

const ADDRESSES = ["to_agent", "from_agent", "reply_to"] as const;

/** Which of them is none. */
function wrongAddress(body: CreateBody, { namespace }: Principal): (typeof ADDRESSES)[number] {
  const isWrong = (text: string): boolean => {
    try {
      parseAddress(text, namespace);
      return false;
    } catch {
      return true;
    }
  };
  return ADDRESSES.find((field) => body[field] != null && isWrong(body[field])) ?? "to_agent";
}

async function submit(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  operation: string,
  bodies: readonly CreateBody[],
) {
  const ref = idempotencyRef(deps, request, operation, bodies);
  const submissions = bodies.map((body, index) => {
    try {
      return submission(deps, request, body);
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== "invalid_address") throw error;
      const field = wrongAddress(body, request.principal);
      const pointer = `${operation === "create_batch" ? `/intents/${index}` : ""}/${field}`;
      throw new PerdureError("invalid_address", error.message, {
        errors: [{ pointer, detail: error.message }],
      });
    }
  });
  const answer = await submitIntents(deps.engine, actorOf(request), submissions, ref);
  if (answer.replayed) void reply.header("idempotent-replayed", "true");
  else deps.metrics.intentsCreated(answer.intents.length);
  return { answer, submissions };
}

const METADATA_MAX = 100;

/** Before each element is looked at closely: a flood of them costs seconds. */
function refuseFloods(limits: Limits, bodies: readonly unknown[], at: (index: number) => string): void {
  let steps = 0;
  bodies.forEach((body, index) => {
    if (typeof body !== "object" || body === null) return;
    const members = body as { steps?: unknown; metadata?: unknown };
    if (Array.isArray(members.steps)) steps += members.steps.length;
    if (steps > limits.stepsMax)
      throw invalid(`${at(index)}/steps`, `one request may declare at most ${limits.stepsMax} steps in all`);
    const { metadata } = members;
    if (typeof metadata === "object" && metadata !== null && Object.keys(metadata).length > METADATA_MAX)
      throw invalid(`${at(index)}/metadata`, `has more than ${METADATA_MAX} members`);
  });
}

function refuseBatchFlood(limits: Limits, body: unknown): void {
  const intents = (body as { intents?: unknown } | null | undefined)?.intents;
  if (!Array.isArray(intents)) return;
  if (intents.length > limits.batchMax)
    throw invalid("/intents", `has ${intents.length} elements; one batch takes at most ${limits.batchMax}`);
  refuseFloods(limits, intents, (index) => `/intents/${index}`);
}

export function createRoutes(app: App, deps: RouteDeps): void {
  const { schemas } = deps;
  app.post(
    "/v1/intents",
    {
      preValidation: async (request) => refuseFloods(deps.limits, [request.body], () => ""),
      config: { needs: "send", batch: "create" },
      schema: {
        body: schemas.create,
        querystring: schemas.waitQuery,
        tags: ["intents"],
        summary: "Create an intent",
      },
    },
    async (request, reply) => {
      const wait = waitSeconds(request, request.query.wait);
      if (wait > 0) countStream(deps, request, reply);
      const { answer, submissions } = await submit(deps, request, reply, "create", [request.body]);
      const created = answer.intents[0];
      const address = submissions[0]?.intent.toAgent ?? "";
      const base = { ok: true, ...created, listeners: listenersAt(deps, address) };
      if (wait === 0 || created === undefined) return base;
      // The commit is done: from here on the answer is always 200 with the current truth (E4).
      const waiting = waitOptions(deps, request, reply, wait);
      const record = await waitForEnd(deps.engine, deps.wakeups, created.intent_id, waiting).catch(
        () => undefined,
      );
      if (record === undefined) return base;
      const intent = intentView(record);
      return { ...base, status: intent.status, result: intent.result, intent };
    },
  );
  app.post(
    "/v1/intents/batch",
    {
      bodyLimit: deps.limits.batchBodyMaxBytes,
      preValidation: async (request) => refuseBatchFlood(deps.limits, request.body),
      config: { needs: "send", batch: "create_many" },
      schema: {
        body: schemas.createBatch,
        tags: ["intents"],
        summary: "Create up to 1,000 intents, all or nothing",
      },
    },
    async (request, reply) => {
      const { answer } = await submit(deps, request, reply, "create_batch", request.body.intents);
      return { ok: true, intents: answer.intents };
    },
  );
}

// What operators do to an intent: cancel, pause, unpause, retry, settle a step in doubt.

import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import type { StepAnswer } from "../../domain/decide/doubt.ts";
import { RawJson } from "../../domain/raw-json.ts";
import {
  cancelIntent,
  decideIntentStep,
  type Operated,
  type Operation,
  pauseIntent,
  retryIntent,
  unpauseIntent,
} from "../../engine/finish.ts";
import { invalid } from "../../errors.ts";
import { readSteps } from "../../store/queries/log.ts";
import { stepView } from "../../wire/views.ts";
import type { RequestSchemas } from "../schemas/requests.ts";
import { type App, actorOf, idempotencyOf, type RouteDeps } from "./deps.ts";
import { intentAnswer, requireIntent } from "./read.ts";

const NULL = new RawJson("null");

function operationOf(deps: RouteDeps, request: FastifyRequest, verb: string): Operation {
  const { id } = request.params as { id: string };
  const idempotency = idempotencyOf(deps, request, verb);
  return { engine: deps.engine, actor: actorOf(request), intentId: id, idempotency };
}

async function answerOperated(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  { intent, replayed }: Operated,
) {
  if (replayed) void reply.header("idempotent-replayed", "true");
  return intentAnswer(await requireIntent(deps, request, intent.id));
}

function stepAnswer(key: string, body: z.output<RequestSchemas["decide"]>, sent: object): StepAnswer {
  const { done, retry, fail } = body;
  const given = [Object.hasOwn(sent, "done"), retry === true, fail !== undefined].filter(Boolean).length;
  if (given !== 1) throw invalid("", "give exactly one of done, retry and fail");
  if (retry === true) return { kind: "retry" };
  if (fail === undefined) return { kind: "done", result: done ?? NULL };
  return {
    kind: "fail",
    error: fail === true ? { code: "step_failed", message: `an operator failed step ${key}` } : fail,
  };
}

export function operatorRoutes(app: App, deps: RouteDeps): void {
  const { schemas } = deps;
  const params = schemas.params.intent;
  const tags = ["operators"];

  app.post(
    "/v1/intents/:id/cancel",
    {
      config: { needs: ["send", "operate"], audit: "intent.cancel" },
      schema: { params, body: schemas.operate, tags, summary: "Cancel; whoever holds it is told" },
    },
    async (request, reply) => {
      const operation = operationOf(deps, request, "cancel");
      return answerOperated(deps, request, reply, await cancelIntent(operation, request.body.reason ?? null));
    },
  );
  app.post(
    "/v1/intents/:id/pause",
    {
      config: { needs: "operate", audit: "intent.pause" },
      schema: { params, body: schemas.operate, tags, summary: "Pause at the next step boundary" },
    },
    async (request, reply) => {
      const operation = operationOf(deps, request, "pause");
      return answerOperated(deps, request, reply, await pauseIntent(operation, request.body.reason ?? null));
    },
  );
  app.post(
    "/v1/intents/:id/unpause",
    {
      config: { needs: "operate", audit: "intent.unpause" },
      schema: { params, body: schemas.operate, tags, summary: "Undo a pause" },
    },
    async (request, reply) => {
      return answerOperated(deps, request, reply, await unpauseIntent(operationOf(deps, request, "unpause")));
    },
  );
  app.post(
    "/v1/intents/:id/retry",
    {
      config: { needs: "operate", audit: "intent.retry" },
      schema: {
        params,
        body: schemas.retry,
        tags,
        summary: "Reopen a FAILED, CANCELED or TIMED_OUT intent; done steps are kept",
      },
    },
    async (request, reply) => {
      const { deadline_at, ttl_seconds } = request.body;
      const ttlMs = ttl_seconds == null ? null : Math.round(ttl_seconds * 1000);
      const operation = operationOf(deps, request, "retry");
      return answerOperated(
        deps,
        request,
        reply,
        await retryIntent(operation, { at: deadline_at ?? null, ttlMs }),
      );
    },
  );
  app.post(
    "/v1/intents/:id/steps/:key/decide",
    {
      config: { needs: "operate", audit: "step.decide" },
      schema: {
        params: schemas.params.step,
        body: schemas.decide,
        tags,
        summary: "Settle a step in doubt: done, retry or fail",
      },
    },
    async (request, reply) => {
      const { id, key } = request.params;
      const answer = stepAnswer(key, request.body, JSON.parse(request.bodyText.trim() || "{}"));
      const operated = await decideIntentStep(operationOf(deps, request, "decide"), key, answer);
      const steps = await readSteps(deps.engine.store, id);
      const step = steps.find((one) => one.key === key);
      const view = step === undefined ? null : stepView(operated.intent, step);
      return { ...(await answerOperated(deps, request, reply, operated)), step: view };
    },
  );
}

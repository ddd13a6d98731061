// What an agent says about an intent it holds: start, steps, progress, hand-back; and how an intent ends.

import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import { RawJson } from "../../domain/raw-json.ts";
import type { StateWrite } from "../../domain/state.ts";
import type { WaitRequest } from "../../domain/wait.ts";
import { type ResolveAnswer, resolveIntent } from "../../engine/finish.ts";
import { waitAtStep } from "../../engine/waits.ts";
import {
  type RecordStepInput,
  recordStep,
  releaseIntent,
  reportIntentProgress,
  type StepWrite,
  startIntent,
  touchIntent,
} from "../../engine/work.ts";
import { invalid } from "../../errors.ts";
import { readLastEnd, readSteps } from "../../store/queries/log.ts";
import { completionView, eventView, nextStepView, staleAnswer, stepView } from "../../wire/views.ts";
import { whenOperating } from "../audit.ts";
import { wantsMinimum } from "../conventions.ts";
import type { RequestSchemas } from "../schemas/requests.ts";
import { type App, actorOf, type RouteDeps } from "./deps.ts";
import { intentAnswer, requireIntent } from "./read.ts";
import { locateScope, toWrite } from "./state.ts";

const NULL = new RawJson("null");
const FAILED = { code: "failed", message: "the handler failed" } as const;

type StepBody = z.output<RequestSchemas["step"]>;

function stepWrite(body: StepBody): StepWrite {
  switch (body.status) {
    case "waiting":
      throw new Error("a wait is not a record");
    case "running":
      return {
        status: "running",
        input: body.input ?? null,
        onInterrupt: body.on_interrupt ?? null,
        timeoutMs: body.timeout_seconds === undefined ? null : Math.round(body.timeout_seconds * 1000),
        retry: body.retry ?? null,
      };
    case "done":
      return { status: "done", result: body.result ?? NULL };
    case "failed":
      return { status: "failed", error: body.error ?? FAILED, retryable: body.retryable };
  }
}

function waitOf(body: StepBody): WaitRequest {
  if (body.wait == null) throw invalid("/wait", "is needed: what does the step wait for?");
  if ((body.state ?? []).length > 0)
    throw invalid("/state", "goes with a result; write state before the wait, or with the next step");
  return body.wait;
}

async function recordInput(
  deps: RouteDeps,
  request: FastifyRequest,
  id: string,
  key: string,
  body: StepBody,
): Promise<RecordStepInput> {
  const state: StateWrite[] = [];
  for (const one of body.state ?? [])
    state.push(toWrite(one, await locateScope(deps, request, one.scope ?? `intent:${id}`, "write")));
  return {
    key,
    attempt: body.attempt,
    write: stepWrite(body),
    beginNext: body.begin_next === false || body.begin_next == null ? null : body.begin_next,
    completeIntent: body.complete_intent,
    state,
  };
}

function agentRoutes(app: App, deps: RouteDeps): void {
  const { schemas, engine } = deps;
  const tags = ["agents"];
  const params = schemas.params.intent;
  const when = whenOperating(engine.store);

  app.post(
    "/v1/intents/:id/start",
    {
      config: { needs: ["act", "operate"], batch: "start", audit: { action: "intent.start", when } },
      schema: { params, body: schemas.start, tags, summary: "Work begins: begins the plan's next step too" },
    },
    async (request) => {
      const { id } = request.params;
      const { body } = request;
      const { intent, next, changed } = await startIntent(engine, actorOf(request), id, {
        attempt: body.attempt,
        ackOnly: body.ack_only,
        beginNext: body.begin_next,
        steps: body.steps ?? null,
        force: body.force,
      });
      const hasNone = body.steps == null && intent.stepsCount === 0;
      const steps = wantsMinimum(request) || hasNone ? changed : await readSteps(engine.store, id);
      return {
        ok: true,
        intent_id: id,
        attempt: intent.attempt,
        status: intent.status,
        plan_by: intent.planBy,
        steps: steps.map((step) => stepView(intent, step)),
        next_step: nextStepView(next),
        cancel: false,
        pause: intent.paused,
      };
    },
  );

  app.put(
    "/v1/intents/:id/steps/:key",
    {
      config: { needs: ["act", "operate"], batch: "step", audit: { action: "step.record", when } },
      schema: {
        params: schemas.params.step,
        body: schemas.step,
        tags,
        summary: "Begin a step, or record its result or failure",
      },
    },
    async (request) => {
      const { id, key } = request.params;
      const { body } = request;
      const answer =
        body.status === "waiting"
          ? await waitAtStep(engine, actorOf(request), id, {
              key,
              attempt: body.attempt,
              wait: waitOf(body),
              completeIntent: body.complete_intent,
            })
          : await recordStep(engine, actorOf(request), id, await recordInput(deps, request, id, key, body));
      // Whoever wants little has it: unless another result was recorded before.
      const isEcho = wantsMinimum(request) && answer.step.result?.text === body.result?.text;
      const step = isEcho ? { ...answer.step, result: null } : answer.step;
      return {
        ok: true,
        step: stepView(answer.intent, step),
        ...(answer.begun === null ? {} : { begun: stepView(answer.intent, answer.begun) }),
        next_step: nextStepView(answer.next),
        intent_status: answer.status,
        pause: answer.intent.paused,
      };
    },
  );

  app.post(
    "/v1/intents/:id/release",
    {
      config: { needs: ["act", "operate"], batch: "release", audit: { action: "intent.release", when } },
      schema: { params, body: schemas.release, tags, summary: "Hand the intent back; costs no attempt" },
    },
    async (request) => {
      const { id } = request.params;
      const { attempt, not_run, reason } = request.body;
      const { status } = await releaseIntent(engine, actorOf(request), id, {
        attempt,
        notRun: not_run,
        reason: reason ?? "released",
      });
      return { ok: true, intent_id: id, status };
    },
  );

  app.post(
    "/v1/intents/:id/heartbeat",
    {
      config: { needs: ["act", "operate"], batch: "heartbeat" },
      schema: { params, body: schemas.touch, tags, summary: "Is this attempt still mine?" },
    },
    async (request) => {
      const { intent } = await touchIntent(engine, actorOf(request), request.params.id, request.body.attempt);
      return { ok: true, attempt: intent.attempt, cancel: false, pause: intent.paused };
    },
  );

  app.post(
    "/v1/intents/:id/progress",
    {
      config: { needs: ["act", "operate"], batch: "progress" },
      schema: { params, body: schemas.progress, tags, summary: "Tell how far the work is" },
    },
    async (request) => {
      const { attempt, message, percent, data, output, output_offset: outputOffset } = request.body;
      const { seq } = await reportIntentProgress(engine, actorOf(request), request.params.id, {
        attempt,
        message: message ?? null,
        percent: percent ?? null,
        data: data ?? null,
        output: output == null ? null : { text: output, offset: outputOffset ?? null },
      });
      return { ok: true, seq };
    },
  );
}

/** Whoever repeats the end is told of it again, with the same event. */
export async function answerEnd(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  { outcome, intent, event }: ResolveAnswer,
) {
  if (outcome === "stale") return staleAnswer(intent);
  if (outcome === "replayed") void reply.header("idempotent-replayed", "true");
  const record = await requireIntent(deps, request, intent.id);
  const told = event ?? (await readLastEnd(deps.engine.store, intent.id));
  return {
    ...intentAnswer(record),
    event: told === undefined ? null : eventView(told),
    completion_delivery: completionView(record),
  };
}

function endingRoutes(app: App, deps: RouteDeps): void {
  const { schemas, engine } = deps;
  const params = schemas.params.intent;
  const when = whenOperating(engine.store);
  app.post(
    "/v1/intents/:id/resolve",
    {
      config: { needs: ["act", "operate"], batch: "resolve", audit: { action: "intent.resolve", when } },
      schema: { params, body: schemas.resolve, tags: ["agents"], summary: "Complete, fail or cancel" },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { body } = request;
      const reason =
        body.reason == null
          ? null
          : { code: body.status === "CANCELED" ? "canceled" : "failed", message: body.reason };
      const input = {
        status: body.status,
        attempt: body.attempt ?? null,
        result: body.status === "COMPLETED" ? (body.result ?? NULL) : null,
        error: body.status === "COMPLETED" ? null : (body.error ?? reason),
        retryAfterMs: body.retry_after_seconds == null ? null : Math.round(body.retry_after_seconds * 1000),
        retryable: body.retryable,
      };
      const expected = body.expected_policy_generation ?? null;
      const answer = await resolveIntent(engine, actorOf(request), id, input, expected);
      return answerEnd(deps, request, reply, answer);
    },
  );
}

export function workRoutes(app: App, deps: RouteDeps): void {
  agentRoutes(app, deps);
  endingRoutes(app, deps);
}

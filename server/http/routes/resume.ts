// POST …/resume: the one verb by which AXP clients answer. Which of its forms it is was found out by the schema.

import type { FastifyReply, FastifyRequest } from "fastify";
import type { Failure } from "../../domain/intent.ts";
import { policyGeneration } from "../../domain/policy.ts";
import { RawJson } from "../../domain/raw-json.ts";
import { resolveIntent } from "../../engine/finish.ts";
import { decideHumanTask, type ResumeAnswer, unblockIntent } from "../../engine/resume.ts";
import { PerdureError } from "../../errors.ts";
import { staleAnswer, stepView } from "../../wire/views.ts";
import { whenOperating } from "../audit.ts";
import { withoutMembers } from "../json-text.ts";
import { type ResumeForm, resumeSchema } from "../schemas/resume.ts";
import { type App, actorOf, idempotencyOf, type RouteDeps } from "./deps.ts";
import { intentAnswer, requireIntent } from "./read.ts";
import { answerEnd } from "./work.ts";

type FormOf<F extends ResumeForm["form"]> = Extract<ResumeForm, { form: F }>;

async function answerResumed(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  { intent, step, applied, reason, replayed }: ResumeAnswer,
) {
  if (replayed) void reply.header("idempotent-replayed", "true");
  if (reason === "stale_policy_generation") return staleAnswer(intent);
  const record = await requireIntent(deps, request, intent.id);
  return {
    ...intentAnswer(record),
    applied,
    ...(reason === null ? {} : { reason }),
    policy_generation: policyGeneration(record.intent),
    ...(step === null ? {} : { step: stepView(intent, step) }),
  };
}

/** The rest of the body as its sender wrote it: the result, or what is told of the failure. */
function restOf(deps: RouteDeps, request: FastifyRequest, strip: readonly string[]): RawJson {
  const text = withoutMembers(request.bodyText, strip);
  const { resultMaxBytes } = deps.limits;
  if (Buffer.byteLength(text) > resultMaxBytes)
    throw new PerdureError("payload_too_large", `the result is larger than ${resultMaxBytes} bytes`);
  return new RawJson(/[\r\n]/.test(text) ? text.replace(/[\r\n][ \t\r\n]*/g, "") : text);
}

const MESSAGE_MAX = 2_000;
const CODE_MAX = 200;

/** Clients have several names for why; all of it is kept in the details. */
function failureOf(rest: RawJson): Failure {
  const told = rest.parse() as Record<string, unknown>;
  const inner = (typeof told.error === "object" ? told.error : null) as Record<string, unknown> | null;
  const text = (...values: unknown[]): string | undefined =>
    values.find((value): value is string => typeof value === "string" && value !== "");
  const message = text(told.error, inner?.message, told.message, told.reason) ?? "the handler failed";
  const code = text(inner?.code, told.code) ?? "failed";
  return {
    code: code.slice(0, CODE_MAX),
    message: message.slice(0, MESSAGE_MAX),
    ...(Object.keys(told).length === 0 ? {} : { details: rest }),
  };
}

async function end(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  { status, attempt, expectedGeneration, strip }: FormOf<"end">,
) {
  const { id } = request.params as { id: string };
  const rest = restOf(deps, request, strip);
  const input = {
    status,
    attempt,
    result: status === "COMPLETED" ? rest : null,
    error: status === "COMPLETED" ? null : failureOf(rest),
    retryable: false,
  };
  const resolved = await resolveIntent(deps.engine, actorOf(request), id, input, expectedGeneration);
  const answer = await answerEnd(deps, request, reply, resolved);
  return resolved.outcome === "stale"
    ? answer
    : { ...answer, applied: true, policy_generation: policyGeneration(resolved.intent) };
}

/** What each form is in the audit log, as it is where it has a route of its own. */
const ACTIONS: { readonly [F in ResumeForm["form"]]: string } = {
  decision: "task.decide",
  go_on: "intent.resume",
  end: "intent.resolve",
};

export function resumeRoutes(app: App, deps: RouteDeps): void {
  const { engine, schemas, limits } = deps;
  app.post(
    "/v1/intents/:id/resume",
    {
      config: {
        needs: ["act", "operate"],
        audit: {
          action: (request) => ACTIONS[(request.body as ResumeForm).form],
          when: whenOperating(engine.store),
        },
      },
      schema: {
        params: schemas.params.intent,
        body: resumeSchema(limits),
        tags: ["axp"],
        summary: "A person's decision, a plain go on, or the end: judged in this order",
      },
    },
    async (request, reply) => {
      const form = request.body;
      if (form.form === "end") return end(deps, request, reply, form);
      const operation = {
        engine,
        actor: actorOf(request),
        intentId: request.params.id,
        idempotency: idempotencyOf(deps, request, "resume"),
      };
      const resumed =
        form.form === "decision"
          ? await decideHumanTask(operation, form, form.expectedGeneration)
          : await unblockIntent(operation, form, form.expectedGeneration);
      return answerResumed(deps, request, reply, resumed);
    },
  );
}

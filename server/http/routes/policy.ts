// AXP patches of an intent under way. Two paths for two halves of a policy that is one thing here: both take all of it.

import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import { policyGeneration } from "../../domain/policy.ts";
import { patchPolicy } from "../../engine/finish.ts";
import { staleAnswer } from "../../wire/views.ts";
import { type AxpSchemas, axpSchemas } from "../schemas/axp.ts";
import { addWarnings } from "../validation.ts";
import { type App, actorOf, idempotencyOf, type RouteDeps } from "./deps.ts";
import { intentAnswer, requireIntent } from "./read.ts";

const NO_GRANTS = "grants_patch was ignored: who may do what follows from API keys and their patterns";

async function patch(
  deps: RouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  verb: string,
): Promise<object> {
  const { id } = request.params as { id: string };
  const { patch, grants, expectedGeneration, reason } = request.body as z.output<AxpSchemas["policy"]>;
  if (grants) addWarnings(request, [NO_GRANTS]);
  const answer = await patchPolicy(
    {
      engine: deps.engine,
      actor: actorOf(request),
      intentId: id,
      idempotency: idempotencyOf(deps, request, verb),
    },
    patch,
    { expectedGeneration, reason },
  );
  if (answer.replayed) void reply.header("idempotent-replayed", "true");
  if (answer.reason === "stale_policy_generation") return staleAnswer(answer.intent);
  const record = await requireIntent(deps, request, id);
  return {
    ...intentAnswer(record),
    applied: answer.applied,
    ...(answer.reason === null ? {} : { reason: answer.reason }),
    changed: answer.changed,
    policy_generation: policyGeneration(record.intent),
  };
}

export function policyRoutes(app: App, deps: RouteDeps): void {
  const { policy } = axpSchemas(deps.limits);
  const verbs = { controls: "Change times, retries, losses, reminders", policy: "The same, as an envelope" };
  for (const [verb, summary] of Object.entries(verbs)) {
    app.post(
      `/v1/intents/:id/${verb}`,
      {
        config: { needs: ["send", "operate"], audit: "intent.policy" },
        schema: {
          params: deps.schemas.params.intent,
          body: policy,
          tags: ["axp"],
          summary: `${summary} of an intent under way, by compare and set`,
        },
      },
      (request, reply) => patch(deps, request, reply, verb),
    );
  }
}

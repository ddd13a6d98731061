// Scenario bundles: what an AXP bundle describes becomes one intent, or a parent that the server leads through its steps.

import { createHash } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { formatAddress, parseAddress } from "../../domain/address.ts";
import type { NewIntent } from "../../domain/decide/create.ts";
import { newId } from "../../domain/ids.ts";
import type { IntentData } from "../../domain/intent.ts";
import { RawJson } from "../../domain/raw-json.ts";
import {
  type Compiled,
  compile,
  type Problem,
  type Scenario,
  type ScenarioStep,
} from "../../domain/scenario.ts";
import { applyScenario } from "../../engine/scenario.ts";
import { type SubmitAnswer, submitIntents } from "../../engine/submit.ts";
import { PerdureError } from "../../errors.ts";
import type { IdempotencyRef } from "../../store/workspace.ts";
import { idempotencyKey } from "../conventions.ts";
import { axpSchemas, type ScenarioBody, toBundle } from "../schemas/axp.ts";
import { addWarnings } from "../validation.ts";
import { replyAddress, requireMaySend } from "./create.ts";
import { type App, actorOf, type RouteDeps } from "./deps.ts";

const EMPTY = new RawJson("{}");

const MACROS = {
  pointer: "/workflow/macro_id",
  detail: "macros are not kept by this server; write their steps into the bundle",
};

function compileBody(deps: RouteDeps, { principal }: FastifyRequest, body: ScenarioBody): Compiled {
  const compiled = compile(toBundle(body, deps.maxDeliveryAttempts), principal.namespace);
  return body.workflow?.macro_id == null
    ? compiled
    : { ...compiled, problems: [MACROS, ...compiled.problems] };
}

function requireSound(problems: readonly Problem[]): void {
  const [first] = problems;
  if (first === undefined) return;
  throw new PerdureError("validation_failed", `${first.pointer}: ${first.detail}`, { errors: problems });
}

/** The same bundle has the same one. */
const compileId = (scenario: Scenario): string =>
  `cmp_${createHash("sha256").update(JSON.stringify(scenario)).digest("hex").slice(0, 24)}`;

function idempotencyRef(deps: RouteDeps, request: FastifyRequest, body: ScenarioBody): IdempotencyRef | null {
  const key = idempotencyKey(request, deps.limits) ?? body.idempotency_key;
  if (key == null) return null;
  const { principal } = request;
  const fingerprint = createHash("sha256").update(request.bodyText).digest("base64url");
  return {
    namespace: principal.namespace,
    sender: principal.ownerAgent ?? principal.sender,
    operation: `scenario ${body.scenario_id}`,
    key,
    fingerprint,
  };
}

interface Birth {
  readonly intent: NewIntent;
  readonly data: IntentData;
}

/** A scenario of one agent's task is that agent's intent; of one decision, a person's task; else the server leads it. */
function birthOf(request: FastifyRequest, body: ScenarioBody, scenario: Scenario): Birth {
  const { principal } = request;
  const { intent: asked } = body;
  const own = principal.ownerAgent ?? principal.sender;
  const [only] = scenario.steps;
  const alone = scenario.steps.length === 1 ? only : undefined;
  const to = alone?.kind === "agent" ? alone.addressAsSent : own;
  const address = parseAddress(to, principal.namespace);
  const id = newId();
  return {
    intent: {
      id,
      namespace: address.namespace,
      toAgent: address.canonical,
      sentBy: parseAddress(own, principal.namespace).canonical,
      intentType: asked.type,
      priority: 0,
      deliverAt: null,
      deadlineAt: asked.deadline_at ?? null,
      ttlMs: asked.ttl_seconds == null ? null : Math.round(asked.ttl_seconds * 1000),
      maxDeliveryAttempts: scenario.maxDeliveryAttempts,
      attemptTimeoutMs: alone?.kind === "agent" ? alone.timeoutMs : null,
      onInterrupt: null,
      retry: null,
      steps: alone === undefined ? planOf(scenario.steps) : [],
      parentId: null,
      humanTask: alone?.kind === "human" ? alone.task : null,
      keepVersions: null,
      retainMs: null,
      conducted: alone === undefined,
    },
    data: {
      id,
      namespace: address.namespace,
      fromAgent: own,
      toAgent: address.canonical,
      toAgentAsSent: to,
      intentType: asked.type,
      payload: asked.payload ?? EMPTY,
      metadata: { scenario_id: scenario.id },
      correlationId: asked.correlation_id ?? null,
      session: null,
      sessionNamespace: null,
      parentIntentId: null,
      parentStep: null,
      detached: false,
      replyTo: asked.reply_to ?? null,
      replyToAddress: replyAddress(principal, asked.reply_to),
      scenario: alone === undefined ? RawJson.of(scenario) : null,
      retention: null,
      traceparent: request.traceparent,
    },
  };
}

const planOf = (steps: readonly ScenarioStep[]): NewIntent["steps"] =>
  steps.map((step) => ({
    key: step.key,
    title: step.kind === "human" ? step.task.title : null,
    onInterrupt: null,
    timeoutMs: null,
    retry: null,
  }));

async function apply(deps: RouteDeps, request: FastifyRequest, reply: FastifyReply) {
  const body = request.body as ScenarioBody;
  const { scenario, problems, warnings } = compileBody(deps, request, body);
  requireSound(problems);
  for (const step of scenario.steps)
    if (step.kind === "agent") requireMaySend(request.principal, step.address);
  addWarnings(request, warnings);
  const { intent, data } = birthOf(request, body, scenario);
  const ref = idempotencyRef(deps, request, body);
  const answer: SubmitAnswer =
    intent.conducted === true
      ? await applyScenario(deps.engine, actorOf(request), { intent, data }, scenario, ref)
      : await submitIntents(deps.engine, actorOf(request), [{ intent, data, parentAttempt: null }], ref);
  if (answer.replayed) void reply.header("idempotent-replayed", "true");
  else deps.metrics.intentsCreated(answer.intents.length);
  const [created] = answer.intents;
  return {
    ok: true,
    ...created,
    compile_id: compileId(scenario),
    scenario_id: scenario.id,
    agents_provisioned: provisioned(request, body),
    idempotent: answer.replayed,
  };
}

/** Nothing has to be set up for an address to be sent to: what is said is what it is. */
function provisioned({ principal }: FastifyRequest, { agents }: ScenarioBody) {
  return agents
    .filter((agent) => agent.create_if_missing === true)
    .map(({ role, address }) => ({
      role,
      address: formatAddress(parseAddress(address, principal.namespace).canonical),
    }));
}

export function scenarioRoutes(app: App, deps: RouteDeps): void {
  const { scenario } = axpSchemas(deps.limits);
  const tags = ["axp"];
  app.post(
    "/v1/scenarios/validate",
    {
      config: { needs: "send" },
      schema: { body: scenario, tags, summary: "Whether a scenario could be applied, and why not" },
    },
    async (request) => {
      const compiled = compileBody(deps, request, request.body);
      const { problems, warnings } = compiled;
      addWarnings(request, warnings);
      return {
        ok: true,
        valid: problems.length === 0,
        scenario_id: compiled.scenario.id,
        ...(problems.length === 0 ? { compile_id: compileId(compiled.scenario) } : {}),
        errors: problems.map(({ pointer, detail }) => `${pointer}: ${detail}`),
        warnings: [],
      };
    },
  );
  app.post(
    "/v1/scenarios/apply",
    {
      config: { needs: "send" },
      schema: { body: scenario, tags, summary: "Creates what a scenario describes, all or nothing" },
    },
    (request, reply) => apply(deps, request, reply),
  );
}

// AXP's mesh: agents say that they are well, and operators kill and resume them. It is our agents by other names.

import type { FastifyRequest } from "fastify";
import { type Address, formatAddress, parseAddress } from "../../domain/address.ts";
import { heartbeatAgent } from "../../engine/agents.ts";
import { renewWindowedLeases } from "../../engine/windows.ts";
import { PerdureError } from "../../errors.ts";
import { listAgentEvents, listAgents } from "../../store/queries/agents.ts";
import {
  actionsNamed,
  addressOfId,
  agentId,
  type Health,
  healthOf,
  meshEventView,
  meshMetricsView,
  meshView,
} from "../../wire/agents.ts";
import { accountOf } from "../auth.ts";
import { axpSchemas } from "../schemas/axp.ts";
import type { App, RouteDeps } from "./deps.ts";
import { requireReach, setPaused, showAgent } from "./fleet.ts";

const DETAIL_EVENTS = 50;

/** An id of ours, or an address in any form. */
const addressOf = ({ principal }: FastifyRequest, text: string): Address =>
  parseAddress(addressOfId(text), principal.namespace);

function readRoutes(app: App, deps: RouteDeps): void {
  const { store } = deps.engine;
  const schemas = axpSchemas(deps.limits);
  const tags = ["axp"];
  const config = { needs: "read" } as const;

  const detail = async (request: FastifyRequest, text: string) => {
    const address = addressOf(request, text);
    requireReach(request, address);
    const agent = await showAgent(deps, address);
    const events = await listAgentEvents(store, {
      access: request.principal.access,
      address: address.canonical,
      actions: null,
      limit: DETAIL_EVENTS,
    });
    return {
      ok: true,
      agent: meshView(agent),
      metrics: meshMetricsView(agent),
      events: events.map(meshEventView),
    };
  };

  app.get(
    "/v1/mesh/agents",
    { config, schema: { querystring: schemas.meshAgents, tags, summary: "Agents with their health" } },
    async (request) => {
      const { limit, health, window } = request.query;
      const { access } = request.principal;
      const agents = await listAgents(store, { access, period: window, only: "all", after: null, limit });
      const views = agents.map(meshView);
      const count = (status: Health) => views.filter((one) => one.health_status === status).length;
      return {
        ok: true,
        agents: health === undefined ? views : views.filter((one) => one.health_status === health),
        summary: {
          total: views.length,
          healthy: count("healthy"),
          degraded: count("degraded"),
          unreachable: count("unreachable"),
          killed: count("killed"),
        },
      };
    },
  );

  app.get(
    "/v1/mesh/events",
    {
      config,
      schema: { querystring: schemas.meshEvents, tags, summary: "What was done to agents, the newest first" },
    },
    async (request) => {
      const { limit, event_type } = request.query;
      const events = await listAgentEvents(store, {
        access: request.principal.access,
        address: null,
        actions: event_type === undefined ? null : actionsNamed(event_type),
        limit,
      });
      return { ok: true, events: events.map(meshEventView) };
    },
  );

  app.get(
    "/v1/mesh/agents/:a",
    {
      config,
      schema: {
        params: schemas.meshAgent,
        tags,
        summary: "One agent: what it tells of itself, and what was done to it",
      },
    },
    (request) => detail(request, request.params.a),
  );
  // `agent://org/workspace/name` as it is.
  app.get("/v1/mesh/agents/*", { config, exposeHeadRoute: false, schema: { hide: true } }, (request) =>
    detail(request, (request.params as { "*": string })["*"]),
  );
}

function killRoutes(app: App, deps: RouteDeps): void {
  const schemas = axpSchemas(deps.limits);
  const tags = ["axp"];
  const config = { needs: "operate" } as const;

  const act = async (request: FastifyRequest, text: string, verb: "kill" | "resume") => {
    const { agent, changed } = await setPaused(deps, request, addressOf(request, text), verb === "kill");
    const view = meshView(agent);
    return { ok: true, ...view, agent: view, changed };
  };

  app.post(
    "/v1/mesh/agents/:a/kill",
    {
      config,
      schema: {
        params: schemas.meshAgent,
        body: schemas.agentVerb,
        tags,
        summary: "Deliver nothing to it, and pause what it holds",
      },
    },
    (request) => act(request, request.params.a, "kill"),
  );
  app.post(
    "/v1/mesh/agents/:a/resume",
    {
      config,
      schema: { params: schemas.meshAgent, body: schemas.agentVerb, tags, summary: "Undo a kill" },
    },
    (request) => act(request, request.params.a, "resume"),
  );
  app.post("/v1/mesh/agents/*", { config, schema: { hide: true, body: schemas.agentVerb } }, (request) => {
    const path = (request.params as { "*": string })["*"];
    const [, text = "", verb] = /^(.+)\/(kill|resume)$/.exec(path) ?? [];
    if (verb === "kill" || verb === "resume") return act(request, text, verb);
    throw new PerdureError("not_found", "an agent of the mesh can be sent kill and resume");
  });
}

export function meshRoutes(app: App, deps: RouteDeps): void {
  const { engine } = deps;
  const { meshHeartbeat } = axpSchemas(deps.limits);
  readRoutes(app, deps);
  killRoutes(app, deps);
  app.post(
    "/v1/mesh/heartbeat",
    {
      config: { needs: ["act", "operate"] },
      schema: {
        body: meshHeartbeat,
        tags: ["axp"],
        summary: "The caller's agent is well; renews what it holds in windows",
      },
    },
    async (request) => {
      const { principal } = request;
      const { metrics } = request.body;
      const address = parseAddress(principal.ownerAgent ?? principal.sender, principal.namespace);
      const renewed = await renewWindowedLeases(engine, {
        account: accountOf(request),
        // A key that names nobody speaks for whatever it has taken.
        address: principal.ownerAgent === null ? null : address.canonical,
      });
      const told =
        metrics == null
          ? null
          : {
              intents: Math.round(metrics.intents_total ?? 0),
              succeeded: Math.round(metrics.intents_succeeded ?? 0),
              failed: Math.round(metrics.intents_failed ?? 0),
              costUsd: metrics.cost_usd ?? 0,
            };
      await heartbeatAgent(engine, address, told);
      const agent = await showAgent(deps, address);
      return {
        ok: true,
        address: formatAddress(address.canonical),
        address_id: agentId(address.canonical),
        health_status: healthOf(agent),
        renewed,
      };
    },
  );
}

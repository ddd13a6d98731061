// Agents as a whole, for operators: who listens at an address and what waits for it; pausing and unpausing it.

import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { covers, may } from "../../domain/access.ts";
import { type Address, formatAddress } from "../../domain/address.ts";
import { pauseAgent, unpauseAgent } from "../../engine/agents.ts";
import { PerdureError } from "../../errors.ts";
import { type Agent, findAgent, listAgents } from "../../store/queries/agents.ts";
import { agentView } from "../../wire/agents.ts";
import { auditorOf } from "../audit.ts";
import { cursorCodec, pageOf } from "../pagination.ts";
import { axpSchemas } from "../schemas/axp.ts";
import { ADDRESS_PATHS, addressIn } from "./addresses.ts";
import { type App, actorOf, type RouteDeps } from "./deps.ts";

const agentCursor = cursorCodec("agents", z.string());

/** Whoever stands for an agent, and in its own namespace whoever operates. */
export function requireReach({ principal }: FastifyRequest, { canonical, namespace }: Address): void {
  const { access } = principal;
  if (covers(access, canonical)) return;
  if (may(access, "operate") && namespace === access.namespace) return;
  throw new PerdureError(
    "forbidden",
    `this key does not reach ${formatAddress(canonical)}: none of its patterns covers that address`,
  );
}

export const showAgent = (deps: RouteDeps, { canonical, namespace }: Address): Promise<Agent> =>
  findAgent(deps.engine.store, { address: canonical, namespace });

/** The agent as it is then, and how many of the intents that it holds changed. */
export async function setPaused(
  deps: RouteDeps,
  request: FastifyRequest,
  address: Address,
  paused: boolean,
): Promise<{ readonly agent: Agent; readonly changed: number }> {
  requireReach(request, address);
  const { engine, dispatcher } = deps;
  const reason = (request.body as { reason?: string | null } | undefined)?.reason ?? null;
  const audit = {
    ...auditorOf(request),
    action: paused ? "agent.pause" : "agent.unpause",
    target: address.canonical,
    details: { request_id: request.id, ...(reason === null ? {} : { reason }) },
  };
  const changed = paused
    ? await pauseAgent(engine, actorOf(request), address, reason, audit)
    : await unpauseAgent(engine, actorOf(request), address, audit);
  if (!paused) dispatcher.wake(address.canonical);
  return { agent: await showAgent(deps, address), changed };
}

export function fleetRoutes(app: App, deps: RouteDeps): void {
  const schemas = axpSchemas(deps.limits);
  const tags = ["agents"];
  app.get(
    "/v1/agents",
    {
      config: { needs: "read" },
      schema: {
        querystring: schemas.agents,
        tags,
        summary: "Agents by address: who listens, what waits for them",
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const rows = await listAgents(deps.engine.store, {
        access: request.principal.access,
        period: "day",
        only: "all",
        after: cursor === undefined ? null : agentCursor.decode(cursor),
        limit: limit + 1,
      });
      const page = pageOf(rows, limit, agentCursor, (agent) => agent.address);
      return { ok: true, agents: page.rows.map(agentView), next_cursor: page.next_cursor };
    },
  );
  for (const path of ADDRESS_PATHS) {
    const hide = path !== ADDRESS_PATHS[0];
    app.get(
      path,
      // A HEAD of three parts is nobody's, and so is one of a stream.
      { exposeHeadRoute: false, config: { needs: "read" }, schema: { tags, hide, summary: "One agent" } },
      async (request) => {
        const address = addressIn(request);
        requireReach(request, address);
        return { ok: true, agent: agentView(await showAgent(deps, address)) };
      },
    );
    for (const verb of ["pause", "unpause"] as const) {
      const summary = verb === "pause" ? "Deliver nothing to it, and pause what it holds" : "Undo its pause";
      app.post(
        `${path}/${verb}`,
        {
          config: { needs: "operate" },
          schema: { body: schemas.agentVerb, tags, hide, summary },
        },
        async (request) => {
          const { agent, changed } = await setPaused(deps, request, addressIn(request), verb === "pause");
          return { ok: true, agent: agentView(agent), changed };
        },
      );
    }
  }
}

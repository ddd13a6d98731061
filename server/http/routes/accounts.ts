// AXP's service accounts, which are addresses with keys: an account is an agent that was registered, its keys are API keys
// for that address.

import type { FastifyRequest } from "fastify";
import { type Address, formatAddress, parseAddress } from "../../domain/address.ts";
import { Refusal } from "../../domain/refusal.ts";
import { createKey, requireGrant, revokeKey } from "../../engine/keys.ts";
import { type Agent, findAgent, listAgents, registerAgent } from "../../store/queries/agents.ts";
import type { ApiKey } from "../../store/queries/keys.ts";
import { addressOfId } from "../../wire/agents.ts";
import { auditorOf } from "../audit.ts";
import { axpSchemas } from "../schemas/axp.ts";
import { addWarnings } from "../validation.ts";
import type { App, RouteDeps } from "./deps.ts";

/** What an agent needs: it sends, works and reads. */
const SCOPES = ["send", "act", "read"] as const;
const HINT = 4;
const LISTED = 1_000;

const instant = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

/** What AXP clients put into a path as it is, where an address has slashes. */
const ID_PREFIX = "sa_";
const accountId = (address: string): string => ID_PREFIX + Buffer.from(address, "utf8").toString("base64url");

function accountView(agent: Agent, name: string) {
  const [org = "", workspace = ""] = agent.namespace.split("/");
  const at = instant(agent.registeredAt);
  return {
    service_account_id: accountId(agent.address),
    id: accountId(agent.address),
    name,
    address: formatAddress(agent.address),
    display_name: agent.displayName,
    description: agent.description,
    org_id: org,
    workspace_id: workspace,
    status: agent.pausedAt === null ? "active" : "suspended",
    created_by_actor_id: agent.registeredBy,
    created_at: at,
    updated_at: instant(Math.max(agent.registeredAt ?? 0, agent.pausedAt ?? 0)),
  };
}

const nameOf = (agent: Agent): string => agent.address.slice(agent.address.lastIndexOf("/") + 1);

function keyView(key: ApiKey, text?: string) {
  return {
    key_id: key.id,
    service_account_id: accountId(key.address),
    key_hint: text === undefined ? key.name : `…${text.slice(-HINT)}`,
    status: key.live ? "active" : "revoked",
    created_at: instant(key.createdAt),
    expires_at: instant(key.expiresAt),
    ...(key.revokedAt === null ? {} : { revoked_at: instant(key.revokedAt) }),
    ...(text === undefined ? {} : { token: text }),
  };
}

const administrator = (request: FastifyRequest) => ({
  access: request.principal.access,
  audit: auditorOf(request),
});

/** AXP's ids of organizations and workspaces mean nothing here: accounts are made where the key is. */
function warnOfPlace(
  request: FastifyRequest,
  org: string | null | undefined,
  workspace: string | null | undefined,
) {
  const { namespace } = request.principal;
  if (org == null && workspace == null) return;
  if (`${org ?? namespace.split("/")[0]}/${workspace ?? namespace.split("/")[1]}` === namespace) return;
  addWarnings(request, [`org_id and workspace_id were ignored: this key's are ${namespace}`]);
}

function notThere(account: string): Refusal {
  return new Refusal("not_found", `there is no service account ${account}`, { service_account_id: account });
}

export function accountRoutes(app: App, deps: RouteDeps): void {
  const { store } = deps.engine;
  const schemas = axpSchemas(deps.limits);
  const tags = ["axp"];
  const config = { needs: "admin" } as const;

  /** One that the caller could make keys for; any other is not there. */
  const requireAccount = async (request: FastifyRequest, account: string): Promise<[Agent, Address]> => {
    const { namespace, access } = request.principal;
    const text = account.startsWith(ID_PREFIX)
      ? Buffer.from(account.slice(ID_PREFIX.length), "base64url").toString("utf8")
      : addressOfId(account);
    const address = parseAddress(text, namespace);
    try {
      requireGrant(access, address);
    } catch {
      throw notThere(account);
    }
    const agent = await findAgent(store, { address: address.canonical, namespace: address.namespace });
    if (agent.registeredAt === null) throw notThere(account);
    return [agent, address];
  };

  app.get(
    "/v1/service-accounts",
    {
      config,
      schema: {
        querystring: schemas.accounts,
        tags,
        summary: "Agents that were registered as service accounts",
      },
    },
    async (request) => {
      const { access, namespace } = request.principal;
      const { org_id, workspace_id } = request.query;
      warnOfPlace(request, org_id, workspace_id);
      const agents = await listAgents(store, {
        access,
        period: "day",
        only: "registered",
        after: null,
        limit: LISTED,
      });
      const own = agents.filter((agent) => agent.namespace === namespace);
      return { ok: true, service_accounts: own.map((agent) => accountView(agent, nameOf(agent))) };
    },
  );

  app.post(
    "/v1/service-accounts",
    {
      config,
      schema: {
        body: schemas.account,
        tags,
        summary: "Register an agent; one that is registered stays as it is",
      },
    },
    async (request) => {
      const { name, display_name, description, org_id, workspace_id } = request.body;
      const { access, namespace } = request.principal;
      warnOfPlace(request, org_id, workspace_id);
      const address = parseAddress(name, namespace);
      requireGrant(access, address);
      const audit = auditorOf(request);
      const agent = { address: address.canonical, namespace: address.namespace };
      const fresh = await registerAgent(store, agent, {
        displayName: display_name || null,
        description: description || null,
        by: audit.actor,
      });
      return { ok: true, service_account: accountView(await findAgent(store, agent), name), created: fresh };
    },
  );

  app.get(
    "/v1/service-accounts/:account",
    { config, schema: { params: schemas.accountParams, tags, summary: "One service account" } },
    async (request) => {
      const [agent] = await requireAccount(request, request.params.account);
      return { ok: true, service_account: accountView(agent, nameOf(agent)) };
    },
  );

  app.post(
    "/v1/service-accounts/:account/keys",
    {
      config,
      schema: {
        params: schemas.accountParams,
        body: schemas.accountKey,
        tags,
        summary: "Make a key for a service account; its text is in this answer only",
      },
    },
    async (request) => {
      const [agent, address] = await requireAccount(request, request.params.account);
      const { expires_at } = request.body;
      const lifetimeMs = expires_at == null ? null : Math.max(1, Math.round(expires_at - agent.now));
      const { key, text } = await createKey(store, administrator(request), {
        name: nameOf(agent),
        address,
        scopes: [...SCOPES],
        patterns: [],
        lifetimeMs,
      });
      return { ok: true, key: keyView(key, text) };
    },
  );

  app.post(
    "/v1/service-accounts/:account/keys/:key_id/revoke",
    {
      config,
      schema: { params: schemas.accountKeyParams, tags, summary: "Revoke a key of a service account" },
    },
    async (request) => {
      const { account, key_id } = request.params;
      const [agent] = await requireAccount(request, account);
      const key = await revokeKey(store, administrator(request), key_id, agent.address);
      deps.keys.forget();
      void deps.keys.endHeld().catch(() => undefined);
      return { ok: true, key: keyView(key) };
    },
  );
}

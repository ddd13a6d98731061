// What AXP clients know and this server does not do: a sentence about what to do instead, rather than a path that is unknown.

import { PerdureError } from "../../errors.ts";
import type { App } from "./deps.ts";

/** 404 `not_supported`, whatever is sent. */
export const notSupported = (sentence: string) => (): never => {
  throw new PerdureError("not_supported", sentence);
};

const FAMILIES: Readonly<Record<string, string>> = {
  "/v1/approvals": "approvals are human tasks here: GET /v1/me/tasks, and POST /v1/intents/{id}/resume",
  "/v1/capabilities": "this server describes itself in GET /openapi.json",
  "/v1/invites": "there are no accounts to invite to: make a key with POST /v1/keys",
  "/v1/media": "files are not stored here: keep them elsewhere, and send where they are in the payload",
  "/v1/schemas": "payloads are not checked against stored schemas: check them in the agent",
  "/v1/users": "there are no user accounts: keys stand for addresses (POST /v1/keys)",
  "/v1/organizations":
    "organizations and workspaces are the first two parts of addresses, and are not kept by themselves",
  "/v1/quotas": "there are no quotas: PERDURE_RATE_LIMIT bounds the requests of a key",
  "/v1/usage": "usage is in GET /metrics",
  "/v1/webhooks": "webhooks are not built: follow GET /v1/intents/{id}/events/stream",
  "/v1/aliases": "addresses are used as they are: GET /v1/agents lists them",
  "/v1/principals": "addresses are used as they are: GET /v1/agents lists them",
  "/v1/routing": "agents fetch their work: GET /v1/agents/{address}/intents/stream",
  "/v1/transports": "agents fetch their work: GET /v1/agents/{address}/intents/stream",
  "/v1/deliveries": "deliveries are in the log of each intent: GET /v1/intents/{id}/events",
  "/v1/tool-registry":
    "there are no macros or tools of the server: describe each step, and assign it to an agent or a person",
  "/v1/auth": "there is no sign-in: give the client an API key (POST /v1/keys)",
  "/mcp": "MCP is not built in: an MCP server of your own calls this API",
};

/** Chat sessions; ours are a label of intents. */
const CHAT_SESSIONS =
  "chat sessions are not built: a session is a label (session) of intents, and its memory GET /v1/state/session:{name}";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

export function unsupportedRoutes(app: App): void {
  const config = { needs: "key" } as const;
  for (const [path, sentence] of Object.entries(FAMILIES))
    for (const url of [path, `${path}/*`])
      app.route({
        method: METHODS,
        url,
        exposeHeadRoute: false,
        config,
        schema: { hide: true },
        handler: notSupported(sentence),
      });
  app.post("/v1/sessions", { config, schema: { hide: true } }, notSupported(CHAT_SESSIONS));
}

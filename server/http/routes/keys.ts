// API keys and the audit log, for administrators. The text of a key is in the answer that makes it, and nowhere else.

import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { formatAddress, parseAddress } from "../../domain/address.ts";
import { RawJson } from "../../domain/raw-json.ts";
import { type Administrator, createKey, revokeKey, rotateKey } from "../../engine/keys.ts";
import { type AuditRecord, listAudit } from "../../store/queries/audit.ts";
import { type ApiKey, listKeys } from "../../store/queries/keys.ts";
import { auditorOf } from "../audit.ts";
import { cursorCodec, pageOf } from "../pagination.ts";
import { keySchemas } from "../schemas/keys.ts";
import type { App, RouteDeps } from "./deps.ts";

const keyCursor = cursorCodec("keys", z.tuple([z.number(), z.guid()]));
const auditCursor = cursorCodec("audit", z.number().int());

const instant = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

function keyView(key: ApiKey) {
  return {
    id: key.id,
    name: key.name,
    address: formatAddress(key.address),
    namespace: key.namespace,
    scopes: key.scopes,
    patterns: key.patterns,
    live: key.live,
    created_at: instant(key.createdAt),
    created_by: key.createdBy,
    expires_at: instant(key.expiresAt),
    revoked_at: instant(key.revokedAt),
    last_used_at: instant(key.lastUsedAt),
  };
}

const auditView = (entry: AuditRecord) => ({
  at: instant(entry.at),
  actor: entry.actor,
  key_id: entry.keyId,
  action: entry.action,
  target: entry.target,
  source: entry.source,
  details: entry.details === null ? null : new RawJson(entry.details),
});

const administrator = (request: FastifyRequest): Administrator => ({
  access: request.principal.access,
  audit: auditorOf(request),
});

const namespaceOf = ({ principal }: FastifyRequest): string | null =>
  principal.allNamespaces ? null : principal.namespace;

export function keyRoutes(app: App, deps: RouteDeps): void {
  const { store } = deps.engine;
  const schemas = keySchemas(deps.limits);
  const tags = ["keys"];
  const config = { needs: "admin" } as const;

  app.post(
    "/v1/keys",
    {
      config,
      schema: { body: schemas.create, tags, summary: "Make a key; its text is in this answer only" },
    },
    async (request) => {
      const { name, address, scopes, patterns, expires_in_seconds } = request.body;
      const { key, text } = await createKey(store, administrator(request), {
        name,
        address: parseAddress(address, request.principal.namespace),
        scopes,
        patterns,
        lifetimeMs: expires_in_seconds == null ? null : Math.round(expires_in_seconds * 1000),
      });
      return { ok: true, key: keyView(key), api_key: text };
    },
  );

  app.get(
    "/v1/keys",
    {
      config,
      schema: { querystring: schemas.page, tags, summary: "Keys, the newest first, without their texts" },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const after = cursor === undefined ? null : keyCursor.decode(cursor);
      const rows = await listKeys(store, {
        access: request.principal.access,
        after: after === null ? null : { createdAt: after[0], id: after[1] },
        limit: limit + 1,
      });
      const page = pageOf(rows, limit, keyCursor, (key) => [key.createdAt, key.id] as [number, string]);
      return { ok: true, keys: page.rows.map(keyView), next_cursor: page.next_cursor };
    },
  );

  app.post(
    "/v1/keys/:id/rotate",
    {
      config,
      schema: {
        params: schemas.params,
        body: schemas.rotate,
        tags,
        summary: "A new key beside the old one, which lives on for grace_seconds; never more than two live",
      },
    },
    async (request) => {
      const graceMs = Math.round(request.body.grace_seconds * 1000);
      const { key, text, old } = await rotateKey(store, administrator(request), request.params.id, graceMs);
      return { ok: true, key: keyView(key), api_key: text, old_key: keyView(old) };
    },
  );

  app.delete(
    "/v1/keys/:id",
    {
      config,
      schema: { params: schemas.params, tags, summary: "Revoke a key; its open streams end within seconds" },
    },
    async (request) => {
      const key = await revokeKey(store, administrator(request), request.params.id);
      // Here at once; other replicas find out within seconds.
      deps.keys.forget();
      void deps.keys.endHeld().catch(() => undefined);
      return { ok: true, key: keyView(key) };
    },
  );

  app.get(
    "/v1/audit",
    {
      config,
      schema: {
        querystring: schemas.page,
        tags,
        summary: "What operators and administrators did, the newest first",
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const rows = await listAudit(store, {
        namespace: namespaceOf(request),
        before: cursor === undefined ? null : auditCursor.decode(cursor),
        limit: limit + 1,
      });
      const page = pageOf(rows, limit, auditCursor, (entry) => entry.id);
      return { ok: true, entries: page.rows.map(auditView), next_cursor: page.next_cursor };
    },
  );
}

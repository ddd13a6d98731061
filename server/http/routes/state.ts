// State over HTTP: one entry, a list, a history, a commit of many.

import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { type Access, covers, may, maySee, seesEverything } from "../../domain/access.ts";
import { parseScope, type Scope, type StateWrite } from "../../domain/state.ts";
import { commitState, type Written } from "../../engine/state.ts";
import { invalid, PerdureError } from "../../errors.ts";
import { findOwned } from "../../store/queries/intents.ts";
import { isSessionOpen } from "../../store/queries/sessions.ts";
import {
  findState,
  listScopes,
  listState,
  listVersions,
  type StateEntry,
} from "../../store/queries/state.ts";
import { cursorCodec, pageOf } from "../pagination.ts";
import { stateSchemas } from "../schemas/state.ts";
import { type App, actorOf, idempotencyOf, type RouteDeps } from "./deps.ts";

const keyCursor = cursorCodec("state", z.string());
const VERSION_MAX = 2_147_483_647;
const versionCursor = cursorCodec("state versions", z.int().min(0).max(VERSION_MAX));
const scopeCursor = cursorCodec("state scopes", z.string());

function entryView(entry: StateEntry, values = true) {
  return {
    scope: entry.scope,
    key: entry.key,
    version: entry.version,
    ...(entry.deleted ? { deleted: true } : values ? { value: entry.value } : {}),
    updated_at: new Date(entry.at).toISOString(),
    actor: entry.actor,
    ...(entry.intentId === null ? {} : { intent_id: entry.intentId, seq: entry.seq }),
  };
}

const writtenView = ({ scope, key, version, deleted }: Written) => ({
  scope,
  key,
  version,
  ...(deleted ? { deleted } : {}),
});

const scopeOf = (deps: RouteDeps, request: FastifyRequest, use: "read" | "write"): Promise<Scope> =>
  locateScope(deps, request, (request.params as { scope: string }).scope, use);

/** No namespace: what is out of sight is read there, and so is not found. */
const NOWHERE = "";

/** The scope, where it is; a foreign one can be neither read nor written. An intent's own state lives with it. */
export async function locateScope(
  deps: RouteDeps,
  request: FastifyRequest,
  text: string,
  use: "read" | "write",
): Promise<Scope> {
  const { access, namespace } = request.principal;
  const scope = parseScope(text, namespace);
  if (scope.kind === "intent") {
    const intent = await findOwned(deps.engine.store, scope.id);
    // The write finds out by itself that it is not there.
    return {
      ...scope,
      namespace: intent !== undefined && maySee(access, intent) ? intent.namespace : NOWHERE,
    };
  }
  if (await isOpen(deps, access, scope)) return scope;
  if (use === "read") return { ...scope, namespace: NOWHERE };
  throw new PerdureError("forbidden", `this key does not reach ${scope.text}`);
}

/** Memory of an address is for whoever stands for it, memory of a session for whoever sees the session. */
async function isOpen(deps: RouteDeps, access: Access, scope: Scope): Promise<boolean> {
  const operates = may(access, "operate") && scope.namespace === access.namespace;
  if (operates || seesEverything(access)) return true;
  if (scope.kind === "agent") return covers(access, scope.id);
  return isSessionOpen(deps.engine.store, { namespace: scope.namespace, name: scope.id }, access);
}

/** `If-Match: "3"` asks for version 3; `If-None-Match: *` that there is none. */
function headerVersion(request: FastifyRequest): number | null {
  if (request.headers["if-none-match"] === "*") return 0;
  const match = request.headers["if-match"];
  if (match === undefined) return null;
  const version = /^(?:W\/)?"?(\d{1,10})"?$/.exec(match)?.[1];
  if (version === undefined) throw invalid("header if-match", "must be a version, such as 3");
  return Number(version);
}

interface Behalf {
  readonly intent_id?: string | null | undefined;
  readonly attempt?: number | null | undefined;
}

function behalfOf(body: Behalf, scope: Scope | null) {
  const intentId = body.intent_id ?? (scope?.kind === "intent" ? scope.id : null);
  if (intentId === null) {
    if (body.attempt != null) throw invalid("/attempt", "belongs to an intent: give intent_id too");
    return null;
  }
  return { intentId, attempt: body.attempt ?? null };
}

/** An intent's state is written with its holder's attempt; whoever writes it without one does so as an operator. */
function isBesideHolder({ principal, params, body }: FastifyRequest): boolean {
  if (!principal.operator) return false;
  const { intent_id, attempt, writes = [] } = (body ?? {}) as Behalf & { writes?: { scope: string }[] };
  const scopes = [(params as { scope?: string }).scope ?? "", ...writes.map((one) => one.scope)];
  return attempt == null && (intent_id != null || scopes.some((scope) => scope.startsWith("intent:")));
}

/** Only an intent has a log by which its past is told. */
function requireLog(scope: Scope, seq: number | undefined): void {
  if (seq !== undefined && scope.kind !== "intent")
    throw invalid("?seq", "goes with the state of an intent; read another scope by version");
}

function notThere(scope: Scope, key: string): PerdureError {
  return new PerdureError("state_not_found", `${scope.text} has no ${JSON.stringify(key)}`, {
    details: { scope: scope.text, key },
  });
}

export function stateRoutes(app: App, deps: RouteDeps): void {
  const { engine } = deps;
  const { store } = engine;
  const schemas = stateSchemas(deps.limits);
  const tags = ["state"];

  const audit = { action: "state.write", when: isBesideHolder };

  const run = async (
    request: FastifyRequest,
    reply: FastifyReply,
    writes: readonly StateWrite[],
    behalf: ReturnType<typeof behalfOf>,
  ) => {
    const idempotency = idempotencyOf(deps, request, "state");
    const answer = await commitState(engine, actorOf(request), { writes, behalf, idempotency });
    if (answer.replayed) void reply.header("idempotent-replayed", "true");
    return answer.written;
  };

  const write = async (
    request: FastifyRequest,
    reply: FastifyReply,
    body: Behalf & { if_version?: number | null | undefined },
    value: StateWrite["value"],
  ) => {
    const scope = await scopeOf(deps, request, "write");
    const { key } = request.params as { key: string };
    const ifVersion = body.if_version ?? headerVersion(request);
    const writes: StateWrite[] = [{ scope, key, value, ifVersion }];
    return (await run(request, reply, writes, behalfOf(body, scope)))[0];
  };

  app.get(
    "/v1/state",
    {
      config: { needs: "read" },
      schema: { querystring: schemas.scopes, tags, summary: "Scopes that hold something" },
    },
    async (request) => {
      const { kind, limit, cursor } = request.query;
      const after = cursor === undefined ? null : scopeCursor.decode(cursor);
      const rows = await listScopes(store, request.principal.access, kind ?? null, after, limit + 1);
      const page = pageOf(rows, limit, scopeCursor, (row) => row.scope);
      const scopes = page.rows.map(({ scope, keys, updatedAt }) => ({
        scope,
        keys,
        updated_at: new Date(updatedAt).toISOString(),
      }));
      return { ok: true, scopes, next_cursor: page.next_cursor };
    },
  );

  app.get(
    "/v1/state/:scope",
    {
      config: { needs: "read" },
      schema: {
        params: schemas.scopeParams,
        querystring: schemas.list,
        tags,
        summary: "Entries of a scope, by key",
      },
    },
    async (request) => {
      const { prefix, limit, cursor, order, values, seq } = request.query;
      const scope = await scopeOf(deps, request, "read");
      requireLog(scope, seq);
      const { entries, more } = await listState(store, {
        namespace: scope.namespace,
        scope: scope.text,
        prefix,
        limit,
        maxBytes: deps.limits.pageMaxBytes,
        descending: order === "desc",
        ...(cursor === undefined ? {} : { after: keyCursor.decode(cursor) }),
        ...(seq === undefined ? {} : { seq }),
      });
      const last = entries.at(-1);
      return {
        ok: true,
        entries: entries.map((entry) => entryView(entry, values)),
        next_cursor: more && last !== undefined ? keyCursor.encode(last.key) : null,
      };
    },
  );

  app.get(
    "/v1/state/:scope/:key",
    {
      config: { needs: "read" },
      schema: {
        params: schemas.entryParams,
        querystring: schemas.read,
        tags,
        summary: "One entry: now, at a version, or as of a seq of its intent",
      },
    },
    async (request, reply) => {
      const scope = await scopeOf(deps, request, "read");
      const { key } = request.params;
      const { version, seq } = request.query;
      requireLog(scope, seq);
      const name = { namespace: scope.namespace, scope: scope.text, key };
      const at = { ...(version === undefined ? {} : { version }), ...(seq === undefined ? {} : { seq }) };
      const entry = await findState(store, name, at);
      if (entry === undefined || (entry.deleted && version === undefined)) throw notThere(scope, key);
      void reply.header("etag", `"${entry.version}"`);
      return { ok: true, entry: entryView(entry) };
    },
  );

  app.get(
    "/v1/state/:scope/:key/versions",
    {
      config: { needs: "read" },
      schema: {
        params: schemas.entryParams,
        querystring: schemas.versions,
        tags,
        summary: "The history of an entry, the newest first",
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const scope = await scopeOf(deps, request, "read");
      const name = { namespace: scope.namespace, scope: scope.text, key: request.params.key };
      const before = cursor === undefined ? null : versionCursor.decode(cursor);
      const { entries, more } = await listVersions(store, name, {
        before,
        limit,
        maxBytes: deps.limits.pageMaxBytes,
      });
      const last = entries.at(-1);
      return {
        ok: true,
        versions: entries.map((entry) => entryView(entry)),
        next_cursor: more && last !== undefined ? versionCursor.encode(last.version) : null,
      };
    },
  );

  app.put(
    "/v1/state/:scope/:key",
    {
      config: { needs: ["send", "act", "operate"], audit },
      schema: {
        params: schemas.entryParams,
        body: schemas.put,
        tags,
        summary: "Write an entry: a new version",
      },
    },
    async (request, reply) => {
      if (request.body.value === undefined)
        throw invalid("/value", "is missing; null is a value, DELETE removes");
      const version = await write(request, reply, request.body, request.body.value);
      if (version !== undefined) void reply.header("etag", `"${version.version}"`);
      return { ok: true, entry: version === undefined ? null : writtenView(version) };
    },
  );

  app.delete(
    "/v1/state/:scope/:key",
    {
      config: { needs: ["send", "act", "operate"], audit },
      schema: {
        params: schemas.entryParams,
        body: schemas.remove,
        tags,
        summary: "Remove an entry; its history stays",
      },
    },
    async (request, reply) => {
      const version = await write(request, reply, request.body, null);
      return {
        ok: true,
        deleted: version !== undefined,
        entry: version === undefined ? null : writtenView(version),
      };
    },
  );

  app.post(
    "/v1/state/commit",
    {
      bodyLimit: deps.limits.batchBodyMaxBytes,
      config: { needs: ["send", "act", "operate"], audit },
      schema: { body: schemas.commit, tags, summary: "Write several entries of any scopes, all or nothing" },
    },
    async (request, reply) => {
      const writes: StateWrite[] = [];
      for (const one of request.body.writes)
        writes.push(toWrite(one, await locateScope(deps, request, one.scope, "write")));
      const written = await run(request, reply, writes, behalfOf(request.body, null));
      return { ok: true, entries: written.map(writtenView) };
    },
  );
}

export function toWrite(
  one: {
    readonly key: string;
    readonly value?: StateWrite["value"] | undefined;
    readonly if_version?: number | null | undefined;
  },
  scope: Scope,
): StateWrite {
  return { scope, key: one.key, value: one.value ?? null, ifVersion: one.if_version ?? null };
}

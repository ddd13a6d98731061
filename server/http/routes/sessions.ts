// Sessions: what is said of one goes for all of its intents.

import type { FastifyRequest } from "fastify";
import { z } from "zod";
import {
  cancelSession,
  deleteIdleSessions,
  deleteSession,
  pauseSession,
  unpauseSession,
} from "../../engine/sessions.ts";
import { PerdureError } from "../../errors.ts";
import {
  findSession,
  listSessions,
  namespacesOfSession,
  type Session,
} from "../../store/queries/sessions.ts";
import { cursorCodec, pageOf } from "../pagination.ts";
import { type App, actorOf, type RouteDeps } from "./deps.ts";

const sessionCursor = cursorCodec("sessions", z.tuple([z.string(), z.string()]));
const IDLE_AT_ONCE = 100;

function sessionView({ namespace, name, paused, createdAt, lastActivityAt, counts }: Session) {
  const total = Object.values(counts).reduce((sum, n) => sum + n, 0);
  return {
    name,
    namespace,
    paused,
    created_at: new Date(createdAt).toISOString(),
    last_activity_at: new Date(lastActivityAt).toISOString(),
    intents: { total, ...counts },
  };
}

const visible = ({ principal }: FastifyRequest): string | null =>
  principal.allNamespaces ? null : principal.namespace;

export function sessionRoutes(app: App, deps: RouteDeps): void {
  const { schemas, engine } = deps;
  const { store } = engine;
  const tags = ["sessions"];
  const params = schemas.sessionParams;

  /** Whoever sees all namespaces names a session alone, as long as there is one of that name. */
  const whereIs = async ({ principal }: FastifyRequest, name: string): Promise<string> => {
    if (!principal.allNamespaces) return principal.namespace;
    const namespaces = await namespacesOfSession(store, name);
    if (namespaces.length < 2 || namespaces.includes(principal.namespace))
      return namespaces.length === 1 ? (namespaces[0] as string) : principal.namespace;
    throw new PerdureError(
      "validation_failed",
      `session ${JSON.stringify(name)} is in ${namespaces.join(", ")}; use a key of one of them`,
      {
        details: { namespaces },
        errors: [{ pointer: ":name", detail: `is in ${namespaces.join(", ")}` }],
      },
    );
  };

  const show = async ({ principal }: FastifyRequest, namespace: string, name: string) => {
    const session = await findSession(store, namespace, name, principal.access);
    if (session === undefined)
      throw new PerdureError("session_not_found", `there is no session ${JSON.stringify(name)}`, {
        details: { session: name },
      });
    return sessionView(session);
  };

  app.get(
    "/v1/sessions",
    {
      config: { needs: "read" },
      schema: {
        querystring: schemas.sessions,
        tags,
        summary: "Sessions by name, with their intents by status",
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const after = cursor === undefined ? null : sessionCursor.decode(cursor);
      const rows = await listSessions(store, {
        access: request.principal.access,
        after: after === null ? null : { namespace: after[0], name: after[1] },
        limit: limit + 1,
      });
      const page = pageOf(rows, limit, sessionCursor, (one) => [one.namespace, one.name] as [string, string]);
      return { ok: true, sessions: page.rows.map(sessionView), next_cursor: page.next_cursor };
    },
  );

  app.get(
    "/v1/sessions/:name",
    { config: { needs: "read" }, schema: { params, tags, summary: "One session" } },
    async (request) => ({
      ok: true,
      session: await show(request, await whereIs(request, request.params.name), request.params.name),
    }),
  );

  const verbs = {
    pause: { run: pauseSession, summary: "Pause all its intents, and those that come" },
    unpause: { run: unpauseSession, summary: "Undo the session's pause" },
    cancel: { run: cancelSession, summary: "Cancel all its intents" },
  } as const;
  for (const [verb, { run, summary }] of Object.entries(verbs)) {
    app.post(
      `/v1/sessions/:name/${verb}`,
      {
        config: { needs: "operate", audit: `session.${verb}` },
        schema: { params, body: schemas.sessionVerb, tags, summary },
      },
      async (request) => {
        const { name } = request.params as { name: string };
        const namespace = await whereIs(request, name);
        const { reason } = request.body as { reason?: string | null };
        const changed = await run(engine, actorOf(request), { namespace, name }, reason ?? null);
        return { ok: true, session: await show(request, namespace, name), changed };
      },
    );
  }

  app.delete(
    "/v1/sessions/:name",
    {
      config: { needs: "operate", audit: "session.delete" },
      schema: { params, tags, summary: "Remove a session with its ended intents and its state" },
    },
    async (request) => {
      const { name } = request.params;
      return {
        ok: true,
        deleted: await deleteSession(engine, { namespace: await whereIs(request, name), name }),
      };
    },
  );

  app.delete(
    "/v1/sessions",
    {
      config: { needs: "operate", audit: "session.delete_idle" },
      schema: {
        querystring: schemas.idleSessions,
        tags,
        summary: "Remove sessions in which nothing has happened for so long",
      },
    },
    async (request) => {
      const idleMs = request.query.older_than_seconds * 1000;
      const { names, removed } = await deleteIdleSessions(engine, visible(request), idleMs, IDLE_AT_ONCE);
      return { ok: true, sessions: names, deleted: removed, more: names.length === IDLE_AT_ONCE };
    },
  );
}

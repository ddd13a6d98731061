// What operators do, in the audit log before they are told that it is done. Key changes write their own entries, in the
// transaction that makes them.

import type { Socket } from "node:net";
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from "fastify";
import { may, mayActOn, seesEverything } from "../domain/access.ts";
import type { Store } from "../store/connection.ts";
import { type AuditEntry, appendAudit } from "../store/queries/audit.ts";
import { findOwned } from "../store/queries/intents.ts";
import type { Audited } from "./needs.ts";

/** Who is doing it, and where from. */
export function auditorOf(
  request: FastifyRequest,
): Pick<AuditEntry, "actor" | "keyId" | "namespace" | "source"> {
  const { principal } = request;
  return {
    actor: principal.ownerAgent ?? principal.sender,
    keyId: principal.keyId,
    namespace: principal.namespace,
    source: request.ip ?? GONE,
  };
}

/** Whoever was cut off before its address was ever asked for. */
const GONE = "unknown";

/** Only routes that declare an action pay for it. Installed before the first of them. */
export function installAudit(app: FastifyInstance, store: Store): void {
  // Asked for once, a socket still tells its peer after it is gone: hanging up must not keep anybody out of the log.
  app.server.on("connection", (socket: Socket) => void socket.remoteAddress);
  app.addHook("onRoute", (route: RouteOptions) => {
    const audit = route.config?.audit;
    if (audit === undefined) return;
    route.onSend = async (request: FastifyRequest, reply: FastifyReply, payload: unknown) => {
      await auditDone(store, audit, request, reply);
      return payload;
    };
  });
}

/** Writes the entry of what has been done, unless it was refused, had been done before, or is no operator's. */
export async function auditDone(
  store: Store,
  audit: string | Audited | undefined,
  request: FastifyRequest,
  reply: Pick<FastifyReply, "statusCode" | "getHeader">,
): Promise<void> {
  if (audit === undefined || reply.statusCode >= 400 || reply.getHeader("idempotent-replayed") !== undefined)
    return;
  const { action, when } = typeof audit === "string" ? { action: audit, when: always } : audit;
  if (await when(request))
    await appendAudit(store.pool, entryOf(request, typeof action === "string" ? action : action(request)));
}

const always = (): boolean => true;

/** For what agents do with an attempt of theirs: an operator does it without one, or to an intent that is another's. */
export function whenOperating(store: Store): Audited["when"] {
  return async ({ principal: { access, operator }, params, body }) => {
    if (!operator) return false;
    if ((body as { attempt?: unknown } | null | undefined)?.attempt == null) return true;
    if (seesEverything(access) && may(access, "act")) return false;
    const intent = await findOwned(store, (params as { id: string }).id);
    return intent === undefined || !mayActOn(access, intent);
  };
}

function entryOf(request: FastifyRequest, action: string): AuditEntry {
  const { id, name, key, scope } = request.params as Record<
    "id" | "name" | "key" | "scope",
    string | undefined
  >;
  const more = {
    ...(key === undefined ? {} : scope === undefined ? { step: key } : { key }),
    ...(id === undefined || name === undefined ? {} : { name }),
  };
  return {
    ...auditorOf(request),
    action,
    target: id ?? name ?? scope ?? null,
    details: { request_id: request.id, ...more },
  };
}

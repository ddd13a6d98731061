// What operators do, in the audit log before they are told that it is done. Key changes write their own entries, in the
// transaction that makes them.

import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from "fastify";
import type { Store } from "../store/connection.ts";
import { type AuditEntry, appendAudit } from "../store/queries/audit.ts";

/** Who is doing it, and where from. */
export function auditorOf(
  request: FastifyRequest,
): Pick<AuditEntry, "actor" | "keyId" | "namespace" | "source"> {
  const { principal } = request;
  return {
    actor: principal.ownerAgent ?? principal.sender,
    keyId: principal.keyId,
    namespace: principal.namespace,
    source: request.ip,
  };
}

/** Only routes that declare an action pay for it. Installed before the first of them. */
export function installAudit(app: FastifyInstance, store: Store): void {
  app.addHook("onRoute", (route: RouteOptions) => {
    const action = route.config?.audit;
    if (action === undefined) return;
    route.onSend = async (request: FastifyRequest, reply: FastifyReply, payload: unknown) => {
      const repeated = reply.getHeader("idempotent-replayed") !== undefined;
      if (reply.statusCode < 400 && !repeated) await appendAudit(store.pool, entryOf(request, action));
      return payload;
    };
  });
}

function entryOf(request: FastifyRequest, action: string): AuditEntry {
  const { id, name, key } = request.params as { id?: string; name?: string; key?: string };
  const more = {
    ...(key === undefined ? {} : { step: key }),
    ...(id === undefined || name === undefined ? {} : { name }),
  };
  return {
    ...auditorOf(request),
    action,
    target: id ?? name ?? null,
    details: { request_id: request.id, ...more },
  };
}

// What operators do, in the audit log before they are told that it is done. Key changes write their own entries, in the
// transaction that makes them.

import type { FastifyInstance, FastifyRequest } from "fastify";
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

export function installAudit(app: FastifyInstance, store: Store): void {
  app.addHook("onSend", async (request, reply, payload) => {
    const action = request.routeOptions.config?.audit;
    const repeated = reply.getHeader("idempotent-replayed") !== undefined;
    if (action === undefined || reply.statusCode >= 400 || repeated) return payload;
    const { id, name, key } = request.params as { id?: string; name?: string; key?: string };
    const more = {
      ...(key === undefined ? {} : { step: key }),
      ...(id !== undefined && name !== undefined ? { name } : {}),
    };
    await appendAudit(store.pool, {
      ...auditorOf(request),
      action,
      target: id ?? name ?? null,
      details: { request_id: request.id, ...more },
    });
    return payload;
  });
}

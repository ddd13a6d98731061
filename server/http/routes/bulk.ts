// Acting on many intents at once: our own verb with filters, and AXP's bulk-cancel, which asks before it acts.

import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { parseAddress } from "../../domain/address.ts";
import { actOnMany, type BulkAction } from "../../engine/bulk.ts";
import { type IntentFilter, LIVE_STATUSES } from "../../store/queries/intents.ts";
import { cursorCodec, INSTANT_MAX } from "../pagination.ts";
import { type AxpSchemas, axpSchemas } from "../schemas/axp.ts";
import { type App, actorOf, type RouteDeps } from "./deps.ts";

const bulkCursor = cursorCodec("bulk", z.tuple([z.number().min(0).max(INSTANT_MAX), z.guid()]));

/** What an action is for, where no status is given. */
const USUAL: { readonly [A in BulkAction]: IntentFilter["status"] } = {
  cancel: LIVE_STATUSES,
  pause: LIVE_STATUSES,
  unpause: LIVE_STATUSES,
  retry: ["FAILED", "TIMED_OUT"],
};

function filterOf(
  { principal }: FastifyRequest,
  { action, filter, cursor }: z.output<AxpSchemas["bulk"]>,
): IntentFilter {
  const { intent_ids, to_agent, intent_type, session, parent_intent_id, code } = filter;
  const { created_from, created_to, metadata } = filter;
  const paused = action === "unpause" ? true : filter.paused;
  const [createdAt, id] = cursor === undefined ? [] : bulkCursor.decode(cursor);
  return {
    access: principal.access,
    ...(paused === undefined ? {} : { paused }),
    status: filter.status ?? USUAL[action] ?? LIVE_STATUSES,
    ...(intent_ids === undefined ? {} : { ids: intent_ids }),
    ...(to_agent === undefined ? {} : { toAgent: parseAddress(to_agent, principal.namespace).canonical }),
    ...(intent_type === undefined ? {} : { intentType: intent_type }),
    ...(session === undefined ? {} : { session }),
    ...(parent_intent_id === undefined ? {} : { parentIntentId: parent_intent_id }),
    ...(code === undefined ? {} : { code }),
    ...(created_from === undefined ? {} : { createdFrom: created_from }),
    ...(created_to === undefined ? {} : { createdTo: created_to }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(createdAt === undefined || id === undefined ? {} : { after: { createdAt, id } }),
  };
}

export function bulkRoutes(app: App, deps: RouteDeps): void {
  const schemas = axpSchemas(deps.limits);

  app.post(
    "/v1/intents/bulk",
    {
      config: { needs: "operate", audit: "intent.bulk" },
      schema: {
        body: schemas.bulk,
        tags: ["operators"],
        summary: "Cancel, pause, unpause or retry many intents; dry_run only looks",
      },
    },
    async (request) => {
      const { action, dry_run, limit, reason } = request.body;
      const { matched, applied, refused, more } = await actOnMany(deps.engine, actorOf(request), {
        action,
        filter: filterOf(request, request.body),
        reason: reason ?? null,
        limit,
        dryRun: dry_run,
      });
      const last = matched.at(-1);
      return {
        ok: true,
        action,
        dry_run,
        matched: matched.length,
        applied: applied.length,
        intent_ids: dry_run ? matched.map(({ id }) => id) : applied,
        refused: refused.map(({ intentId, code }) => ({ intent_id: intentId, code })),
        next_cursor: more && last !== undefined ? bulkCursor.encode([last.createdAt, last.id]) : null,
      };
    },
  );

  app.post(
    "/v1/intents/bulk-cancel",
    {
      config: { needs: "operate", audit: "intent.bulk_cancel" },
      schema: {
        body: schemas.bulkCancel,
        tags: ["axp"],
        summary:
          "Cancel intents to which nothing has happened for so long; only looks unless dry_run is false",
      },
    },
    async (request) => {
      const { status_filter: status, dry_run, limit, reason, idleMs } = request.body;
      const { matched, applied } = await actOnMany(deps.engine, actorOf(request), {
        action: "cancel",
        filter: { access: request.principal.access, status, idleMs },
        reason: reason ?? null,
        limit,
        dryRun: dry_run,
      });
      return dry_run
        ? { ok: true, dry_run, would_cancel: matched.length, intent_ids: matched.map(({ id }) => id) }
        : { ok: true, dry_run, canceled: applied.length, intent_ids: applied };
    },
  );
}

// Inboxes: ended intents, for whoever their ends were to be told to. Without an owner, what the caller sees of intents, which is what
// the AXP command line lists.

import { createHash } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { formatAddress, parseAddress } from "../../domain/address.ts";
import { TERMINAL_EVENTS } from "../../domain/event.ts";
import { isTerminal } from "../../domain/lifecycle.ts";
import { Refusal } from "../../domain/refusal.ts";
import { findThread, listThreads, type Thread } from "../../store/queries/inbox.ts";
import { type IntentRecord, listIntents } from "../../store/queries/intents.ts";
import { cursorCodec, INSTANT_MAX } from "../pagination.ts";
import { axpSchemas } from "../schemas/axp.ts";
import type { App, RouteDeps } from "./deps.ts";
import { notSupported } from "./unsupported.ts";

const threadCursor = cursorCodec("inbox", z.tuple([z.number().min(0).max(INSTANT_MAX), z.guid()]));

const iso = (ms: number): string => new Date(ms).toISOString();

/** The same for the same entry, whoever asks: it has no id of its own. */
function eventId(intentId: string, type: string): string {
  const hex = createHash("sha256").update(`${intentId}\n${type}`).digest("hex");
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

const entry = (intentId: string, type: string, actor: string, at: number, details: object) => ({
  event_id: eventId(intentId, type),
  event_type: type,
  actor,
  at: iso(at),
  details,
});

function threadView(thread: Thread) {
  const { intentId, intentType, status, fromAgent, toAgent, createdAt, finishedAt, result, error } = thread;
  const end = status === "COMPLETED" ? { status, result } : { status, error };
  return {
    thread_id: intentId,
    intent_id: intentId,
    intent_type: intentType,
    status: "done",
    intent_status: status,
    owner_agent: thread.replyTo,
    from_agent: fromAgent,
    to_agent: toAgent,
    created_at: iso(createdAt),
    updated_at: iso(finishedAt),
    timeline: [
      entry(intentId, "intent.created", fromAgent, createdAt, { intent_type: intentType }),
      entry(intentId, TERMINAL_EVENTS[status], toAgent, finishedAt, end),
    ],
  };
}

/** An intent as a thread of whoever sees it. */
function seenThreadView({ intent, data }: IntentRecord, owner: string) {
  const { id, intentType, createdAt } = intent;
  const over = isTerminal(intent.status);
  return {
    thread_id: id,
    intent_id: id,
    intent_type: intentType,
    status: over ? "done" : intent.attempt === 0 ? "pending" : "active",
    intent_status: intent.status,
    owner_agent: data.replyTo ?? owner,
    from_agent: data.fromAgent,
    to_agent: data.toAgentAsSent,
    created_at: iso(createdAt),
    updated_at: iso(intent.updatedAt),
    timeline: [entry(id, "intent.created", data.fromAgent, createdAt, { intent_type: intentType })],
  };
}

/** The one whose inbox is asked for; that the caller stands for it was checked before. */
function ownerOf({ principal }: FastifyRequest): string | null {
  return principal.ownerAgent === null
    ? null
    : parseAddress(principal.ownerAgent, principal.namespace).canonical;
}

const NOT_BUILT: Readonly<Record<string, string>> = {
  "GET /v1/inbox/changes":
    "inbox changes are not kept: list GET /v1/inbox?owner_agent=, or follow the intent with GET /v1/intents/{id}/events/stream",
  "POST /v1/inbox/:id/reply":
    "threads take no replies: send a new intent with POST /v1/intents, or a signal with POST /v1/intents/{id}/signals/{name}",
  "POST /v1/inbox/:id/delegate":
    "threads are not delegated: send the work to another agent with POST /v1/intents",
  "POST /v1/inbox/:id/approve":
    'people decide with POST /v1/intents/{id}/resume {"task_result": {"outcome": "approved"}}',
  "POST /v1/inbox/:id/reject":
    'people decide with POST /v1/intents/{id}/resume {"task_result": {"outcome": "rejected"}}',
  "POST /v1/inbox/:id/messages/delete":
    "threads have no messages: an ended intent goes when its retention ends",
};

export function inboxRoutes(app: App, deps: RouteDeps): void {
  const { store } = deps.engine;
  const schemas = axpSchemas(deps.limits);
  const tags = ["axp"];
  const config = { needs: "read" } as const;

  const listSeen = async (request: FastifyRequest, limit: number, after: [number, string] | undefined) => {
    const { access, sender } = request.principal;
    const { records, more } = await listIntents(store, {
      access,
      limit,
      maxBytes: deps.limits.pageMaxBytes,
      ...(after === undefined ? {} : { after: { createdAt: after[0], id: after[1] } }),
    });
    const last = records.at(-1)?.intent;
    return {
      ok: true,
      threads: records.map((record) => seenThreadView(record, sender)),
      next_cursor: more && last !== undefined ? threadCursor.encode([last.createdAt, last.id]) : null,
    };
  };

  app.get(
    "/v1/inbox",
    {
      config,
      schema: {
        querystring: schemas.inbox,
        tags,
        summary: "Ended intents whose reply_to is owner_agent, the newest first",
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const after = cursor === undefined ? undefined : threadCursor.decode(cursor);
      const owner = ownerOf(request);
      if (owner === null) return listSeen(request, limit, after);
      const page = await listThreads(store, {
        owner,
        after: after === undefined ? null : { createdAt: after[0], id: after[1] },
        limit,
        maxBytes: deps.limits.pageMaxBytes,
      });
      const last = page.threads.at(-1);
      return {
        ok: true,
        threads: page.threads.map(threadView),
        next_cursor:
          page.more && last !== undefined ? threadCursor.encode([last.createdAt, last.intentId]) : null,
      };
    },
  );

  app.get(
    "/v1/inbox/:id",
    {
      config,
      schema: {
        params: schemas.params,
        querystring: schemas.owner,
        tags,
        summary: "One thread: the end of an intent, as its reply_to is told of it",
      },
    },
    async (request) => {
      const { id } = request.params;
      const owner = ownerOf(request) ?? request.principal.access.address;
      const thread = await findThread(store, owner, id);
      if (thread !== undefined) return { ok: true, thread: threadView(thread) };
      throw new Refusal("not_found", `there is no thread ${id} in the inbox of ${formatAddress(owner)}`, {
        thread_id: id,
      });
    },
  );

  for (const [named, sentence] of Object.entries(NOT_BUILT)) {
    const [method = "GET", url = ""] = named.split(" ");
    app.route({ method, url, config, schema: { hide: true }, handler: notSupported(sentence) });
  }
}

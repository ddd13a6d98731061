// The feed: what happens to all intents a caller sees, on one connection.

import type { z } from "zod";
import { type FeedFilter, FeedReader } from "../../delivery/feed.ts";
import { checkPattern } from "../../domain/access.ts";
import { parseAddress } from "../../domain/address.ts";
import type { Principal } from "../auth.ts";
import { type OverviewSchemas, overviewSchemas } from "../schemas/overview.ts";
import { type App, countStream, openFrames, type RouteDeps } from "./deps.ts";
import { metadataIn } from "./read.ts";

const DESCRIPTION = `One connection for any number of intents. It begins now, or behind \`since\` (\`Last-Event-ID\` wins), the id of a frame that was
received before. Frames are events as in a log, with small details only, and \`intent\`: the intent as that commit left it. Order is that of
\`seq\` within an intent; with several servers events of one intent may come in another order. With \`interval_ms\` frames come that far apart at least,
and only the newest of each intent (\`events\` says how many it stands for): what a page needs.

The feed is kept in memory, so that it has gaps, and says so: \`stream.gap {reason}\` means that events are missing here (\`unknown_cursor\`: of
another server, or before its restart; \`too_old\`; \`missed\`; \`too_many\` at once). Read again what you show. Logs (\`/v1/intents/{id}/events/stream\`)
have no gaps. \`stream.cursor\` says how far a reader is to whom nothing else is said. \`to_agent\` may end in a star.`;

function filterOf(query: z.output<OverviewSchemas["feed"]>, { access, namespace }: Principal): FeedFilter {
  const metadata = metadataIn(query);
  return {
    access,
    ...(query.status === undefined ? {} : { status: query.status }),
    ...(query.event_type === undefined ? {} : { eventTypes: query.event_type }),
    ...(query.to_agent === undefined ? {} : { toAgent: addressesIn(query.to_agent, namespace) }),
    ...(query.intent_type === undefined ? {} : { intentType: query.intent_type }),
    ...(query.intent_id === undefined ? {} : { intentIds: new Set(query.intent_id) }),
    ...(query.parent_intent_id === undefined ? {} : { parentIntentId: query.parent_intent_id }),
    ...(query.session === undefined ? {} : { session: query.session }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
  };
}

/** A pattern of one part is completed like an address of one part; a star alone stands for everything there is. */
function addressesIn(text: string, namespace: string): string {
  if (!text.endsWith("*")) return parseAddress(text, namespace).canonical;
  const pattern = text.replace(/^agent:\/\//, "");
  return checkPattern(pattern === "*" || pattern.includes("/") ? pattern : `${namespace}/${pattern}`);
}

export function feedRoutes(app: App, deps: RouteDeps): void {
  app.get(
    "/v1/events/stream",
    {
      exposeHeadRoute: false,
      config: { needs: "read" },
      schema: {
        querystring: overviewSchemas(deps.limits).feed,
        tags: ["intents"],
        summary: "What happens to all intents, as server-sent events",
        description: DESCRIPTION,
      },
    },
    async (request, reply) => {
      const { query, principal } = request;
      const filter = filterOf(query, principal);
      countStream(deps, request, reply);
      const gone = new AbortController();
      const frames = openFrames(deps, request, reply, "feed");
      frames.onClose(() => gone.abort());
      const cursor = request.headers["last-event-id"] ?? query.since ?? null;
      const reader = new FeedReader(deps.engine.store, deps.feed, frames, {
        filter,
        cursor: cursor === null ? null : String(cursor),
        intervalMs: query.interval_ms,
        idleMs: deps.keepAliveMs,
        signal: gone.signal,
      });
      try {
        await reader.follow();
      } catch (error) {
        request.log.warn({ err: error }, "a feed ended early; its reader resumes from its cursor");
      } finally {
        frames.end();
      }
    },
  );
}

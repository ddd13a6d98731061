// How any number of intents ended, over one stream: opening it, and saying what it watches.

import type { FastifyRequest } from "fastify";
import type { z } from "zod";
import { PerdureError } from "../../errors.ts";
import { clientOf } from "../clients.ts";
import { type OutcomeSchemas, outcomeSchemas } from "../schemas/outcomes.ts";
import { type App, countStream, openFrames, type RouteDeps } from "./deps.ts";

const STREAM_DESCRIPTION = `The first frame, \`stream.open {watcher}\`, names the stream for \`POST /v1/outcomes/{watcher}/watch\`, which says what it
watches. An intent that has ended, before or after that, is told once, and is watched no more:
\`intent.outcome {intent_id, status, result, error, seq, mark}\`, or \`{intent_id, mark, fetch: true}\` where that is too large for a frame or the
intent is gone: ask for it with \`GET /v1/intents/{id}\`. What a stream watches ends with it: whoever connects again says it again. It ends
with \`stream.end {reason}\` when the server goes away, after some minutes (\`rotate\`), or with its key.`;

const WATCH_DESCRIPTION = `The stream tells how each of these intents ended, also of one that had ended before. \`mark\` is a number of the caller's that
is told again with each outcome: an outcome with it is no older than this request, also where an intent was watched before and has been
retried since. \`forget\` names what is not waited for any more. Answers \`{ok, watching, missing}\`: how many the stream watches now, and which of
these ids do not exist for this key. 404 \`watcher_unknown\`: the stream is not open here, because it has ended or is another replica's. 429
\`too_many_watches\`: nothing of the request was added. The same request again does no harm.`;

const RECONNECT_HINT_MS = 250;

/** Without keys everybody is the same one, from wherever it calls. */
const ownerOf = ({ principal }: FastifyRequest): string => principal.keyId ?? principal.sender;

type WatchBody = z.output<OutcomeSchemas["watch"]>;

export async function watchOutcomes(
  deps: RouteDeps,
  request: FastifyRequest,
  watcher: string,
  { intent_ids, mark, forget }: WatchBody,
) {
  const stream = deps.outcomes.find(watcher, ownerOf(request));
  if (stream === undefined)
    throw new PerdureError(
      "watcher_unknown",
      "this stream of outcomes is not open on this server; try again, or open another one with GET /v1/outcomes/stream",
    );
  const missing = await deps.outcomes.watch(stream, {
    intentIds: intent_ids,
    mark,
    forget,
    access: request.principal.access,
  });
  return { ok: true, watching: stream.watches.size, missing };
}

export function outcomeRoutes(app: App, deps: RouteDeps): void {
  const schemas = outcomeSchemas(deps.limits);
  const tags = ["intents"];

  app.get(
    "/v1/outcomes/stream",
    {
      exposeHeadRoute: false,
      config: { needs: "read" },
      schema: {
        tags,
        summary: "How intents end, as server-sent events: one stream for any number of them",
        description: STREAM_DESCRIPTION,
      },
    },
    async (request, reply) => {
      countStream(deps, request, reply);
      const frames = openFrames(deps, request, reply, "outcomes");
      const { watcher } = deps.outcomes.open(frames, {
        owner: ownerOf(request),
        client: clientOf(request, deps.keyed),
      });
      frames.retry(RECONNECT_HINT_MS);
      frames.send({ event: "stream.open", data: { watcher } });
    },
  );

  app.post(
    "/v1/outcomes/:watcher/watch",
    {
      config: { needs: "read", batch: "watch" },
      schema: {
        params: schemas.params,
        body: schemas.watch,
        tags,
        summary: "Adds to what a stream of outcomes watches",
        description: WATCH_DESCRIPTION,
      },
    },
    async (request, reply) => {
      try {
        return await watchOutcomes(deps, request, request.params.watcher, request.body);
      } catch (error) {
        // Behind a balancer the next try goes another way, and what works once is kept.
        if (error instanceof PerdureError && error.code === "watcher_unknown")
          reply.header("connection", "close");
        throw error;
      }
    },
  );
}

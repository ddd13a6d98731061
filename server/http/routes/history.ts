// An intent's past: checkpoints, going back to one, and everything there is as JSON lines.

import { Readable } from "node:stream";
import { encodeJson, RawJson } from "../../domain/raw-json.ts";
import { nameCheckpoint, restoreIntent } from "../../engine/history.ts";
import { PerdureError } from "../../errors.ts";
import { exportIntent } from "../../store/queries/export.ts";
import {
  type Checkpoint,
  findCheckpoint,
  listCheckpoints,
  removeCheckpoint,
} from "../../store/queries/history.ts";
import { eventView, intentView } from "../../wire/views.ts";
import { whenOperating } from "../audit.ts";
import { type App, actorOf, idempotencyOf, type RouteDeps } from "./deps.ts";
import { intentAnswer, requireIntent } from "./read.ts";

const checkpointView = (checkpoint: Checkpoint) => ({
  name: checkpoint.name,
  seq: checkpoint.seq,
  created_at: new Date(checkpoint.created_at).toISOString(),
  created_by: checkpoint.actor,
  metadata: new RawJson(checkpoint.metadata),
  steps_done: checkpoint.steps_done,
});

const notThere = (name: string): PerdureError =>
  new PerdureError("checkpoint_not_found", `there is no checkpoint ${JSON.stringify(name)}`, {
    details: { name },
  });

export function historyRoutes(app: App, deps: RouteDeps): void {
  const { schemas, engine } = deps;
  const { store } = engine;
  const tags = ["history"];
  const params = schemas.checkpointParams;

  app.get(
    "/v1/intents/:id/checkpoints",
    {
      config: { needs: "read" },
      schema: { params: schemas.params.intent, tags, summary: "Named places in the log, the newest first" },
    },
    async (request) => {
      const { intent } = await requireIntent(deps, request, request.params.id);
      const checkpoints = await listCheckpoints(store, intent.id, deps.limits.checkpointsMax);
      return { ok: true, checkpoints: checkpoints.map(checkpointView) };
    },
  );

  app.get(
    "/v1/intents/:id/checkpoints/:name",
    { config: { needs: "read" }, schema: { params, tags, summary: "One checkpoint" } },
    async (request) => {
      const { id, name } = request.params;
      const { intent } = await requireIntent(deps, request, id);
      const checkpoint = await findCheckpoint(store.pool, intent.id, name);
      if (checkpoint === undefined) throw notThere(name);
      return { ok: true, checkpoint: checkpointView(checkpoint) };
    },
  );

  app.put(
    "/v1/intents/:id/checkpoints/:name",
    {
      config: {
        needs: ["act", "operate"],
        audit: { action: "checkpoint.name", when: whenOperating(store) },
      },
      schema: {
        params,
        body: schemas.checkpoint,
        tags,
        summary: "Name the log as it is now; a holder that repeats itself keeps the first",
      },
    },
    async (request) => {
      const { id, name } = request.params;
      const { attempt, metadata } = request.body;
      const answer = await nameCheckpoint(engine, actorOf(request), id, {
        name,
        attempt: attempt ?? null,
        metadata,
        max: deps.limits.checkpointsMax,
      });
      return { ok: true, checkpoint: checkpointView(answer.checkpoint), replayed: answer.replayed };
    },
  );

  app.delete(
    "/v1/intents/:id/checkpoints/:name",
    {
      config: { needs: "operate", audit: "checkpoint.delete" },
      schema: { params, tags, summary: "Forget a name; the log stays" },
    },
    async (request) => {
      const { id, name } = request.params;
      await requireIntent(deps, request, id);
      if (!(await removeCheckpoint(store, id, name))) throw notThere(name);
      return { ok: true };
    },
  );

  app.post(
    "/v1/intents/:id/restore",
    {
      config: { needs: "operate", audit: "intent.restore" },
      schema: {
        params: schemas.params.intent,
        body: schemas.restore,
        tags: ["operators"],
        summary:
          "Go back to a checkpoint or a log entry (0: start afresh), as if the agent had crashed right after it",
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const idempotency = idempotencyOf(deps, request, "restore");
      const answer = await restoreIntent(engine, actorOf(request), id, request.body.to, idempotency);
      if (answer.replayed) void reply.header("idempotent-replayed", "true");
      const { kept, runAgain, superseded } = answer.restored;
      return {
        ...intentAnswer(await requireIntent(deps, request, id)),
        restored: {
          seq: answer.seq,
          ...(answer.name === null ? {} : { name: answer.name }),
          kept,
          run_again: runAgain,
          superseded,
        },
      };
    },
  );

  app.get(
    "/v1/intents/:id/export",
    {
      exposeHeadRoute: false,
      config: { needs: "read" },
      schema: {
        params: schemas.params.intent,
        tags,
        summary: "The intent with its whole history, as JSON lines",
      },
    },
    async (request, reply) => {
      const record = await requireIntent(deps, request, request.params.id);
      async function* lines() {
        yield `${encodeJson({ kind: "intent", ...intentView(record) })}\n`;
        for await (const item of exportIntent(store, record.intent)) {
          const { kind } = item;
          const rest = item.kind === "event" ? eventView(item.event) : item.row;
          yield `${encodeJson({ kind, ...rest })}\n`;
        }
      }
      return reply.type("application/x-ndjson; charset=utf-8").send(Readable.from(lines()) as never);
    },
  );
}

// Signals, which end a wait from outside, and the list of what people are asked.

import { z } from "zod";
import { RawJson } from "../../domain/raw-json.ts";
import { signalIntent } from "../../engine/waits.ts";
import { listTasks, type Task } from "../../store/queries/tasks.ts";
import { cursorCodec, INSTANT_MAX, pageOf } from "../pagination.ts";
import { type App, actorOf, idempotencyOf, type RouteDeps } from "./deps.ts";

const NULL = new RawJson("null");
const taskCursor = cursorCodec("tasks", z.tuple([z.number().min(0).max(INSTANT_MAX), z.guid()]));

function taskView(task: Task) {
  return {
    intent_id: task.intentId,
    step: task.step,
    intent_type: task.intentType,
    status: task.status,
    from_agent: task.fromAgent,
    assigned_at: new Date(task.assignedAt).toISOString(),
    due_at: task.dueAt === null ? null : new Date(task.dueAt).toISOString(),
    human_task: task.task,
  };
}

export function waitingRoutes(app: App, deps: RouteDeps): void {
  const { schemas, engine } = deps;

  app.post(
    "/v1/intents/:id/signals/:name",
    {
      config: { needs: ["send", "operate"] },
      schema: {
        params: schemas.signalParams,
        body: schemas.signal,
        tags: ["waiting"],
        summary: "Signal an intent: kept until a wait of that name takes it",
      },
    },
    async (request, reply) => {
      const { id, name } = request.params;
      const input = { name, data: request.body.data ?? NULL };
      const idempotency = idempotencyOf(deps, request, "signal");
      const { no, takenBy, intent, replayed } = await signalIntent(
        engine,
        actorOf(request),
        id,
        input,
        idempotency,
      );
      if (replayed) void reply.header("idempotent-replayed", "true");
      return { ok: true, intent_id: id, name, seq: no, delivered: takenBy !== null, status: intent.status };
    },
  );

  app.get(
    "/v1/me/tasks",
    {
      config: { needs: "read" },
      schema: {
        querystring: schemas.tasks,
        tags: ["waiting"],
        summary: "What people are asked, the longest waiting first",
      },
    },
    async (request) => {
      const { assignee, limit, cursor } = request.query;
      const after = cursor === undefined ? null : taskCursor.decode(cursor);
      const rows = await listTasks(engine.store, request.principal.access, {
        assignee: assignee ?? null,
        after: after === null ? null : { assignedAt: after[0], intentId: after[1] },
        limit: limit + 1,
      });
      const page = pageOf(
        rows,
        limit,
        taskCursor,
        (task) => [task.assignedAt, task.intentId] as [number, string],
      );
      return { ok: true, tasks: page.rows.map(taskView), next_cursor: page.next_cursor };
    },
  );
}

// What ends a wait from outside: signals, and people's decisions; and the list of what people are asked.

import { z } from "zod";
import { RawJson } from "../../domain/raw-json.ts";
import { decideHumanTask, signalIntent } from "../../engine/waits.ts";
import { listTasks, type Task } from "../../store/queries/tasks.ts";
import { stepView } from "../../wire/views.ts";
import { whenOperating } from "../audit.ts";
import { cursorCodec, INSTANT_MAX, pageOf } from "../pagination.ts";
import { type App, actorOf, idempotencyOf, type RouteDeps } from "./deps.ts";
import { intentAnswer, requireIntent } from "./read.ts";

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

  app.post(
    "/v1/intents/:id/resume",
    {
      config: {
        needs: ["act", "operate"],
        audit: { action: "task.decide", when: whenOperating(engine.store) },
      },
      schema: {
        params: schemas.params.intent,
        body: schemas.resume,
        tags: ["waiting"],
        summary: "A person's decision: the first one counts",
      },
    },
    async (request) => {
      const { id } = request.params;
      const { task_result, step } = request.body;
      const decision = {
        step: step ?? null,
        outcome: task_result.outcome,
        comment: task_result.comment ?? null,
        data: task_result.data === undefined || task_result.data.text === "null" ? null : task_result.data,
      };
      const answer = await decideHumanTask(engine, actorOf(request), id, decision);
      const record = await requireIntent(deps, request, id);
      return {
        ...intentAnswer(record),
        applied: answer.applied,
        policy_generation: record.intent.generation,
        step: stepView(answer.intent, answer.step),
      };
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

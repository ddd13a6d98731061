// What people are asked.

import { sql } from "kysely";
import type { Access } from "../../domain/access.ts";
import type { Status } from "../../domain/lifecycle.ts";
import type { Store } from "../connection.ts";
import { seen } from "../sight.ts";

export interface Task {
  readonly intentId: string;
  readonly step: string;
  readonly intentType: string;
  readonly status: Status;
  readonly fromAgent: string;
  readonly assignedAt: number;
  readonly dueAt: number | null;
  /** As it was written. */
  readonly task: Readonly<Record<string, unknown>>;
}

export interface TaskPage {
  /** Tasks of this person, and those that are anybody's; null: all. */
  readonly assignee: string | null;
  readonly after: { readonly assignedAt: number; readonly intentId: string } | null;
  readonly limit: number;
}

interface Row {
  intent_id: string;
  step: string;
  intent_type: string;
  status: Status;
  from_agent: string;
  assigned_at: number;
  due_at: number | null;
  wait: string | null;
}

/** A step that began and was never recorded: somebody has to look. */
const inDoubt = (step: string) => ({
  title: `Did step ${JSON.stringify(step)} happen?`,
  task_type: "in_doubt",
  allowed_outcomes: ["done", "retry", "fail"],
  required_comment: false,
  assignees: [],
});

/** The longest waiting first, of the intents that are seen. */
export async function listTasks(store: Store, access: Access, page: TaskPage): Promise<Task[]> {
  const { assignee, after } = page;
  const at = after?.assignedAt ?? null;
  const { rows } =
    await sql<Row>`select t.intent_id, t.step, i.intent_type, i.status, d.from_agent, t.assigned_at, t.due_at, s.wait
      from human_tasks t join intents i on i.id = t.intent_id join intent_data d on d.id = t.intent_id
      join steps s on s.intent_id = t.intent_id and s.key = t.step
      where ${seen(access, "i")}
        and (${at}::float8 is null or (t.assigned_at, t.intent_id) > (to_timestamp(${at}::float8 / 1000), ${after?.intentId ?? null}::uuid))
        and (${assignee}::text is null or s.wait is null or json_array_length(s.wait -> 'human_task' -> 'assignees') = 0
          or (s.wait -> 'human_task' -> 'assignees')::jsonb ? ${assignee})
      order by t.assigned_at, t.intent_id, t.step limit ${page.limit}`.execute(store.db);
  return rows.map((row) => ({
    intentId: row.intent_id,
    step: row.step,
    intentType: row.intent_type,
    status: row.status,
    fromAgent: row.from_agent,
    assignedAt: row.assigned_at,
    dueAt: row.due_at,
    task: row.wait === null ? inDoubt(row.step) : JSON.parse(row.wait).human_task,
  }));
}

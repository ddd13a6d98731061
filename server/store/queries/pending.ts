// With whom a waiting intent is: the person who is asked, or the agent of the child that it waits for.

import { taskToJson, waitFromJson } from "../../domain/wait-json.ts";
import type { Store } from "../connection.ts";

export interface Pending {
  readonly kind: "human" | "agent";
  /** A person, or an address. */
  readonly name: string;
  /** What the person is asked. */
  readonly task: Readonly<Record<string, unknown>> | null;
  readonly dueAt: number | null;
}

const WAITS = {
  name: "pending_waits",
  text: `select s.wait, (select d.to_agent_as_sent from intent_data d
      where d.id = (s.wait -> 'intents' ->> 0)::uuid) as child_agent
    from intents i join steps s on s.intent_id = i.id and s.key = any(i.open_steps)
    where i.id = $1 and i.status = 'WAITING' and s.status = 'waiting' order by s.position nulls last, s.key limit 1`,
};

export async function findPending(store: Store, intentId: string): Promise<Pending | undefined> {
  const { rows } = await store.pool.query<{ wait: string; child_agent: string | null }>({
    ...WAITS,
    values: [intentId],
  });
  const [row] = rows;
  if (row === undefined) return undefined;
  const wait = waitFromJson(JSON.parse(row.wait));
  if (wait.kind === "human") {
    const { task } = wait;
    return {
      kind: "human",
      name: task.assignees[0] ?? task.title,
      task: taskToJson(task),
      dueAt: wait.timeoutAt,
    };
  }
  if (row.child_agent === null) return undefined;
  return { kind: "agent", name: row.child_agent, task: null, dueAt: null };
}

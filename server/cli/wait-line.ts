// Owns what a waiting step waits for as a line for people. Must not fetch anything.
import type { Json } from "./api.ts";

/** `for signal paid until 2030-01-31T08:00:00.000Z`. */
export function describeWait(wait: Json): string {
  const { signal, intents, human_task: task, until, timeout_at: timeoutAt } = wait ?? {};
  const end = until ?? timeoutAt;
  const parts: string[] = [];
  if (signal !== undefined) parts.push(`for signal ${signal}`);
  if (intents !== undefined)
    parts.push(`for ${intents.length} ${intents.length === 1 ? "intent" : "intents"}`);
  if (task !== undefined) parts.push(`for ${task.title} (${outcomesOf(task).join(", ")})`);
  if (end !== undefined) parts.push(`until ${end}`);
  return parts.join(" ");
}

export function outcomesOf(task: Json): string[] {
  return task?.allowed_outcomes ?? [];
}

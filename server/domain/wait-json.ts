// A wait as it is written down: in the log, in the steps table and on the wire, with absolute times in ISO 8601.

import type { HumanTask } from "./human-task.ts";
import type { HumanWait, Wait } from "./wait.ts";

type Json = Readonly<Record<string, unknown>>;

const iso = (ms: number): string => new Date(ms).toISOString();
const ms = (text: unknown): number | null => (typeof text === "string" ? Date.parse(text) : null);
const seconds = (value: number): number => value / 1000;
const fromSeconds = (value: unknown): number | null => (typeof value === "number" ? value * 1000 : null);

/** `{[name]: value}`, or nothing for null. */
const given = (name: string, value: unknown): Json => (value === null ? {} : { [name]: value });
const timeout = (at: number | null): Json => (at === null ? {} : { timeout_at: iso(at) });

export function waitToJson(wait: Wait): Json {
  switch (wait.kind) {
    case "signal":
      return { signal: wait.name, ...timeout(wait.timeoutAt) };
    case "time":
      return { until: iso(wait.until) };
    case "intents":
      return { intents: wait.ids, ...timeout(wait.timeoutAt) };
    case "human":
      return {
        human_task: taskToJson(wait.task),
        assigned_at: iso(wait.assignedAt),
        ...timeout(wait.timeoutAt),
        ...(wait.remindAt === null ? {} : { remind_at: iso(wait.remindAt) }),
        ...(wait.reminders === 0 ? {} : { reminders: wait.reminders }),
        ...(wait.escalated ? { escalated: true } : {}),
        ...(wait.ends ? { ends_intent: true } : {}),
      };
  }
}

export function taskToJson(task: HumanTask): Json {
  return {
    title: task.title,
    ...given("description", task.description),
    ...given("task_type", task.taskType),
    allowed_outcomes: task.allowedOutcomes,
    required_comment: task.requiredComment,
    assignees: task.assignees,
    ...given("form_schema", task.formSchema),
    ...(task.remindAfterMs === null ? {} : { remind_after_seconds: seconds(task.remindAfterMs) }),
    ...(task.remindIntervalMs === null ? {} : { remind_interval_seconds: seconds(task.remindIntervalMs) }),
    max_reminders: task.maxReminders,
    ...given("escalate_to", task.escalateTo),
  };
}

/** The wait that `waitToJson` wrote. */
// biome-ignore lint/suspicious/noExplicitAny: read back what we wrote
export function waitFromJson(json: any): Wait {
  const timeoutAt = ms(json.timeout_at);
  if (json.signal !== undefined) return { kind: "signal", name: json.signal, timeoutAt };
  if (json.intents !== undefined) return { kind: "intents", ids: json.intents, timeoutAt };
  if (json.human_task !== undefined) return humanFromJson(json, timeoutAt);
  return { kind: "time", until: ms(json.until) ?? 0 };
}

// biome-ignore lint/suspicious/noExplicitAny: read back what we wrote
function humanFromJson(json: any, timeoutAt: number | null): HumanWait {
  const task = json.human_task;
  return {
    kind: "human",
    task: {
      title: task.title,
      description: task.description ?? null,
      taskType: task.task_type ?? null,
      allowedOutcomes: task.allowed_outcomes,
      requiredComment: task.required_comment,
      assignees: task.assignees,
      formSchema: task.form_schema ?? null,
      remindAfterMs: fromSeconds(task.remind_after_seconds),
      remindIntervalMs: fromSeconds(task.remind_interval_seconds),
      maxReminders: task.max_reminders,
      escalateTo: task.escalate_to ?? null,
    },
    timeoutAt,
    assignedAt: ms(json.assigned_at) ?? 0,
    remindAt: ms(json.remind_at),
    reminders: json.reminders ?? 0,
    escalated: json.escalated ?? false,
    ends: json.ends_intent ?? false,
  };
}

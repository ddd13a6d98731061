// Owns: what a human is asked and answers, and both on the wire. Must not: do I/O.
import { compact, optional, present } from "./absent.ts";
import { type Duration, toSeconds } from "./duration.ts";
import type { Status, Wire } from "./intents.ts";

/** A question for people. It waits for as long as it takes, over every restart. */
export interface HumanTask {
  title: string;
  description?: string;
  /** What may be decided. Default `approved` and `rejected`. */
  outcomes?: string[];
  /** Who is asked; whoever may operate can answer. */
  assignees?: string[];
  /** JSON Schema that the decision's `data` has to satisfy. */
  form?: object;
  /** A decision without a comment is refused. */
  requireComment?: boolean;
  /** Asked again (`intent.reminder`) when nobody has decided by then. */
  remindAfter?: Duration;
  /** The longest wait for a decision. */
  deadline?: Duration;
}

/** What somebody decided. */
export interface Decision<D = any> {
  /** One of the task's `outcomes`. */
  outcome: string;
  comment?: string;
  data?: D;
  decidedBy: string;
  /** ISO 8601, of the server's database clock. */
  decidedAt: string;
}

/** A task that waits for its decision. Times are ISO 8601. */
export interface OpenTask {
  intentId: string;
  /** The step that waits. */
  step: string;
  intentType: string;
  status: Status;
  fromAgent: string;
  title: string;
  description?: string;
  outcomes: string[];
  assignees: string[];
  form?: object;
  requireComment: boolean;
  assignedAt: string;
  dueAt?: string;
}

/** Without the deadline, which belongs to the wait, or to the intent. */
export function humanTaskToWire(task: HumanTask): Wire {
  return compact({
    title: task.title,
    description: task.description,
    allowed_outcomes: task.outcomes,
    required_comment: task.requireComment,
    assignees: task.assignees,
    form_schema: task.form,
    remind_after_seconds: optional(task.remindAfter, toSeconds),
  });
}

export function presentDecision<D>(wire: Wire): Decision<D> {
  const { outcome, comment, data, decided_by: decidedBy, decided_at: decidedAt } = wire;
  return {
    outcome,
    ...present("comment", comment as string | null | undefined),
    ...present("data", data as D | null | undefined),
    decidedBy,
    decidedAt,
  };
}

export function presentTask(wire: Wire): OpenTask {
  const { human_task: task } = wire;
  return {
    intentId: wire.intent_id,
    step: wire.step,
    intentType: wire.intent_type,
    status: wire.status,
    fromAgent: wire.from_agent,
    title: task.title,
    ...present("description", task.description as string | null | undefined),
    outcomes: task.allowed_outcomes ?? [],
    assignees: task.assignees ?? [],
    ...present("form", task.form_schema as object | null | undefined),
    requireComment: task.required_comment ?? false,
    assignedAt: wire.assigned_at,
    ...present("dueAt", wire.due_at as string | null | undefined),
  };
}

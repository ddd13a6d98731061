// Owns: waiting: an intent is parked on a step that somebody else finishes, without a holder, and goes on when that is done.
import type { Wire } from "../../intents.ts";
import { end, letGo, lose, requireOpen } from "./attempts.ts";
import {
  isOver,
  iso,
  log,
  type Model,
  type ModelIntent,
  type ModelStep,
  type ModelWait,
  refusal,
} from "./shapes.ts";
import { goOn, isEnd, markDone, planned, toRecord } from "./steps.ts";

const REASONS = {
  signal: "WAITING_FOR_TOOL",
  time: "WAITING_FOR_TIME",
  intents: "WAITING_FOR_AGENT",
  human: "WAITING_FOR_HUMAN",
} as const;

/** Done at once if it is satisfied already; else the attempt ends here, and the intent is delivered again when it is. */
export function park(model: Model, intent: ModelIntent, key: string, body: Wire): ModelStep {
  const known = intent.steps.get(key);
  if (known?.status === "done") return known;
  if (known?.status === "waiting" && known.attempt === body.attempt) return known;
  requireOpen(model, intent, body.attempt, "step_waiting");
  if (known?.status === "failed" && known.error?.final === true) return known;
  const others = intent.openSteps.filter((open) => open !== key);
  if (others.length > 0)
    throw refusal("steps_pending", "other steps are still running; record them, then wait", {
      steps: others,
    });
  const step = toRecord(intent, key);
  const asked = beginWait(model, body);
  // The first wait for the same thing counts: a sleep that was interrupted is not slept again from its beginning.
  const wait = step.wait !== null && isFor(step.wait, asked) ? step.wait : asked;
  step.wait = wait;
  step.startedAt ??= model.now();
  const found = lookUp(model, intent, wait);
  if (found !== undefined) settle(model, intent, step, found.result, { ...found.origin, wait: wait.wire });
  else if (wait.dueAt !== null && wait.dueAt <= model.now())
    timeIsUp(model, intent, step, { wait: wait.wire });
  else {
    letGo(intent);
    awaitStep(model, intent, step);
  }
  return step;
}

function beginWait(model: Model, { wait, complete_intent }: Wire): ModelWait {
  const { signal, seconds, until, intents, human_task, timeout_seconds } = wait;
  const timeoutAt = timeout_seconds == null ? null : model.now() + timeout_seconds * 1_000;
  const limit = timeoutAt === null ? {} : { timeout_at: iso(timeoutAt) };
  const rest = { ends: false, keepOpen: complete_intent === false, dueAt: timeoutAt };
  if (signal !== undefined) return { kind: "signal", wire: { signal, ...limit }, ...rest };
  if (intents !== undefined) return { kind: "intents", wire: { intents, ...limit }, ...rest };
  if (human_task !== undefined)
    return { kind: "human", wire: { human_task: withDefaults(human_task), ...limit }, ...rest };
  const dueAt = until === undefined ? model.now() + seconds * 1_000 : Date.parse(until);
  return { ...rest, kind: "time", wire: { until: iso(dueAt) }, dueAt };
}

const withDefaults = (task: Wire): Wire => ({
  allowed_outcomes: ["approved", "rejected"],
  required_comment: false,
  assignees: [],
  ...task,
});

function isFor(wait: ModelWait, asked: ModelWait): boolean {
  if (wait.kind !== asked.kind) return false;
  return wait.wire.signal === asked.wire.signal && String(wait.wire.intents) === String(asked.wire.intents);
}

/** What the wait asks for, if it is there; a signal is taken by that. */
function lookUp(
  model: Model,
  intent: ModelIntent,
  wait: ModelWait,
): { result: unknown; origin: Wire } | undefined {
  if (wait.kind === "intents") {
    const result = endsOf(model, intent, wait.wire.intents);
    return result === undefined ? undefined : { result, origin: {} };
  }
  const next = intent.signals.find(
    ({ taken, name }) => !taken && wait.kind === "signal" && name === wait.wire.signal,
  );
  if (next === undefined) return undefined;
  next.taken = true;
  return { result: next.data, origin: { signal: next.no } };
}

/** How all of these children ended, in the order asked for; undefined while one of them lives. */
function endsOf(model: Model, parent: ModelIntent, ids: readonly string[]): Wire[] | undefined {
  const children = ids.map((id) => {
    const child = model.intents.get(id);
    if (child?.sent.parent_intent_id === parent.id) return child;
    throw refusal("not_a_child", `${id} is not a child of this intent`, { intent_id: id });
  });
  if (!children.every(isOver)) return undefined;
  return children.map(({ id, status, result, error }) => ({
    intent_id: id,
    status,
    ...(status === "COMPLETED" ? { result } : { error }),
  }));
}

/** The intent is WAITING on this step; nobody holds it. */
function awaitStep(model: Model, intent: ModelIntent, step: ModelStep): void {
  const { key, tries } = step;
  const { kind, wire } = step.wait as ModelWait;
  step.status = "waiting";
  step.finishedAt = null;
  log(model, intent, "step_waiting", { key, tries, wait: wire });
  intent.status = "WAITING";
  intent.reason = REASONS[kind];
  intent.openSteps = [key];
  log(model, intent, "waiting", { reason: intent.reason, steps: [key] });
  if (kind === "human") log(model, intent, "human_task_assigned", { key, title: wire.human_task.title });
}

/** An intent that is nothing but a person's task. */
export function assign(model: Model, intent: ModelIntent, task: Wire): void {
  const step = planned("human_task", null);
  step.startedAt = model.now();
  step.wait = {
    kind: "human",
    wire: { human_task: withDefaults(task) },
    dueAt: null,
    ends: true,
    keepOpen: false,
  };
  intent.steps.set(step.key, step);
  awaitStep(model, intent, step);
}

/** The step that the intent is parked on. */
export function parkedOn(intent: ModelIntent): ModelStep | undefined {
  const step = intent.steps.get(intent.openSteps[0] ?? "");
  return intent.status === "WAITING" && step?.status === "waiting" ? step : undefined;
}

function settle(
  model: Model,
  intent: ModelIntent,
  step: ModelStep,
  result: unknown,
  origin: Wire = {},
): void {
  markDone(model, intent, step, result, origin);
  if (isEnd(intent, step, false)) end(model, intent, { status: "COMPLETED", result });
  else if (intent.status === "WAITING") goOn(model, intent, step.key);
}

/** Time ended the wait: a sleep is over, anything else was in vain. */
function timeIsUp(model: Model, intent: ModelIntent, step: ModelStep, origin: Wire = {}): void {
  if (step.wait?.kind === "time") return void settle(model, intent, step, null, origin);
  const error = {
    code: "wait_timeout",
    message: `step ${JSON.stringify(step.key)} waited in vain`,
    retryable: false,
  };
  step.status = "failed";
  step.finishedAt = model.now();
  step.error = { ...error, final: true };
  intent.openSteps = intent.openSteps.filter((open) => open !== step.key);
  log(model, intent, "step_failed", { key: step.key, tries: step.tries, final: true, ...origin, error });
  if (isEnd(intent, step, true)) end(model, intent, { status: "FAILED", error });
  else if (intent.status === "WAITING") goOn(model, intent, step.key);
}

export function signal(model: Model, intent: ModelIntent, name: string, data: unknown): Wire {
  if (isOver(intent))
    throw refusal(
      "intent_terminal",
      `the intent already ended as ${intent.status}; nobody will read a signal`,
    );
  const step = parkedOn(intent);
  const taker = step?.wait?.wire.signal === name ? step : undefined;
  const no = log(model, intent, "signaled", {
    name,
    data,
    ...(taker === undefined ? {} : { taken_by: taker.key }),
  });
  intent.signals.push({ no, name, data, taken: taker !== undefined });
  if (taker !== undefined) settle(model, intent, taker, data, { signal: no });
  return {
    ok: true,
    intent_id: intent.id,
    name,
    seq: no,
    delivered: taker !== undefined,
    status: intent.status,
  };
}

/** A person's decision: the first one counts, the same again changes nothing. */
export function decideTask(model: Model, intent: ModelIntent, key: string | undefined, answer: Wire): void {
  const { outcome, comment, data } = answer;
  const asked = parkedOn(intent);
  if (asked?.wait?.kind === "human" && (key === undefined || key === asked.key)) {
    checkDecision(asked.wait.wire.human_task, answer);
    const told = { ...(comment == null ? {} : { comment }), ...(data == null ? {} : { data }) };
    return void settle(model, intent, asked, {
      outcome,
      ...told,
      decided_by: "test",
      decided_at: iso(model.now()),
    });
  }
  const decided = [...intent.steps.values()]
    .filter(({ wait, status }) => wait?.kind === "human" && status === "done")
    .filter((step) => key === undefined || step.key === key)
    .sort((a, b) => b.seq - a.seq)[0]?.result as Wire | undefined;
  if (decided === undefined) throw refusal("no_human_task", "nothing here waits for a person");
  const same = JSON.stringify([outcome, comment ?? null, data ?? null]);
  if (JSON.stringify([decided.outcome, decided.comment ?? null, decided.data ?? null]) !== same)
    throw refusal("already_decided", `it was decided already: ${decided.outcome}`);
}

function checkDecision(task: Wire, { outcome, comment, data }: Wire): void {
  if (!task.allowed_outcomes.includes(outcome))
    throw refusal("validation_failed", `outcome: must be one of ${task.allowed_outcomes.join(", ")}`);
  if (task.required_comment && (comment ?? "").trim() === "")
    throw refusal("validation_failed", "comment: this task asks for a comment");
  const missing = (task.form_schema?.required ?? []).filter(
    (name: string) => !Object.hasOwn({ outcome, comment, ...data }, name),
  );
  if (missing.length > 0)
    throw refusal("validation_failed", `data: this task's form asks for ${missing.join(", ")}`);
}

/** Wakes parents whose children have all ended. True when there was one. */
export function wakeParents(model: Model): boolean {
  for (const intent of model.intents.values()) {
    const step = parkedOn(intent);
    if (step?.wait?.kind !== "intents") continue;
    const ends = endsOf(model, intent, step.wait.wire.intents);
    if (ends === undefined) continue;
    settle(model, intent, step, ends);
    return true;
  }
  return false;
}

/** The next instant at which something happens to the intent by itself. */
export function nextDueAt(intent: ModelIntent): number | null {
  if (isOver(intent)) return null;
  const held = intent.holder !== null;
  const limit = intent.sent.attempt_timeout_seconds;
  const dues = [
    intent.deadlineAt,
    intent.availableAt,
    parkedOn(intent)?.wait?.dueAt ?? null,
    held && limit != null ? intent.deliveredAt + limit * 1_000 : null,
  ].filter((at) => at !== null);
  return dues.length === 0 ? null : Math.min(...dues);
}

/** What is due of one intent happens. */
export function tick(model: Model, intent: ModelIntent): void {
  const due = nextDueAt(intent);
  if (due === null || due > model.now()) return;
  const { deadlineAt } = intent;
  if (deadlineAt !== null && deadlineAt <= model.now()) {
    const error = { code: "deadline_exceeded", message: "the intent's deadline passed", retryable: false };
    return void end(model, intent, { status: "TIMED_OUT", error });
  }
  const step = parkedOn(intent);
  if (intent.availableAt !== null && intent.availableAt <= model.now()) intent.availableAt = null;
  else if (step !== undefined) timeIsUp(model, intent, step);
  else if (intent.holder !== null) lose(model, intent, "attempt_timeout");
}

// Waits: steps that somebody else finishes, and who does: signals, time, children, people (W1, W2).

import { closeAttempt, end, fenced, handBackIfPaused, running } from "./attempts.ts";
import { endsOf } from "./kin.ts";
import { log } from "./log.ts";
import { isOver } from "./queue.ts";
import type {
  Answer,
  Asked,
  Model,
  ModelIntent,
  ModelSignal,
  ModelStep,
  ModelWait,
  Verdict,
  WaitAsked,
} from "./shapes.ts";
import { completeIfPlanDone, markDone, recorded, stepOf } from "./steps.ts";

/** The wait that a WAITING intent is parked on, if it is one. */
export function parkedWait(intent: ModelIntent): ModelStep | undefined {
  if (intent.status !== "WAITING") return undefined;
  return intent.steps.find((step) => step.status === "waiting" && intent.parkedOn.includes(step.key));
}

export function wait(model: Model, intent: ModelIntent, op: Extract<Asked, { op: "wait" }>): Verdict {
  const known = stepOf(intent, op.key);
  if (known?.status === "done") return told(intent, known);
  // The answer to the attempt that it parked got lost.
  if (known?.status === "waiting" && known.attempt === op.attempt) return told(intent, known);
  const refused = fenced(intent, op.attempt);
  if (refused !== undefined) return refused;
  if (known?.status === "failed" && known.final) return told(intent, known);
  if (running(intent).some((step) => step.key !== op.key)) return "steps_pending";
  const begun = firstWait(known, op.wait) ?? beginWait(model, op.wait);
  if (begun.kind === "children" && begun.of.some((n) => !isChildOf(model, n, op.i))) return "not_a_child";
  const step = recorded(intent, op.key);
  step.wait = begun;
  step.began = true;
  const found = lookUp(model, intent, step);
  if (found === undefined) park(intent, step);
  else {
    found();
    if (!completeIfPlanDone(model, intent, step)) handBackIfPaused(intent);
  }
  return told(intent, step);
}

/** The first wait for the same thing counts; one for another thing is another wait. */
function firstWait(step: ModelStep | undefined, asked: WaitAsked): ModelWait | null {
  if (step === undefined || step.status === "superseded" || step.wait === null) return null;
  return isFor(step.wait, asked) ? step.wait : null;
}

function isFor(first: ModelWait, asked: WaitAsked): boolean {
  if (first.kind === "signal") return asked.kind === "signal" && asked.name === first.name;
  if (first.kind === "children") return asked.kind === "children" && String(asked.of) === String(first.of);
  return asked.kind === first.kind;
}

const isChildOf = (model: Model, n: number, parent: number): boolean =>
  model.intents[n]?.parent?.of === parent;

/** What an agent is told of its wait. */
function told(intent: ModelIntent, step: ModelStep): Verdict {
  const result = step.status === "done" ? ` ${JSON.stringify(step.result)}` : "";
  return `ok ${step.status}${result} ${intent.status}`;
}

function beginWait(model: Model, asked: WaitAsked): ModelWait {
  if (asked.kind === "time") return { kind: "time", until: model.now + asked.ms };
  const timeoutAt = asked.timeoutMs === null ? null : model.now + asked.timeoutMs;
  if (asked.kind === "human") return { kind: "human", timeoutAt, ends: false };
  if (asked.kind === "signal") return { kind: "signal", name: asked.name, timeoutAt };
  return { kind: "children", of: asked.of, timeoutAt };
}

/** What is there already; undefined when there is something to wait for. */
function lookUp(model: Model, intent: ModelIntent, step: ModelStep): (() => void) | undefined {
  const begun = step.wait as ModelWait;
  if (begun.kind === "signal") {
    const signal = intent.signals.find((one) => one.name === begun.name && one.takenBy === null);
    if (signal !== undefined) return () => take(intent, step, signal);
  }
  if (begun.kind === "children") {
    const ends = endsOf(model, begun.of);
    if (ends !== undefined) return () => markDone(intent, step, ends);
  }
  const at = overAt(begun);
  if (at === null || at > model.now) return undefined;
  return () => (begun.kind === "time" ? markDone(intent, step, null) : giveUp(model, intent, step));
}

function take(intent: ModelIntent, step: ModelStep, signal: ModelSignal): void {
  signal.takenBy = step.key;
  markDone(intent, step, signal.data, signal.no);
}

const overAt = (begun: ModelWait): number | null => (begun.kind === "time" ? begun.until : begun.timeoutAt);

function park(intent: ModelIntent, step: ModelStep): void {
  step.status = "waiting";
  closeAttempt(intent);
  awaitStep(intent, step);
}

const REASONS = {
  signal: "WAITING_FOR_TOOL",
  time: "WAITING_FOR_TIME",
  children: "WAITING_FOR_AGENT",
  human: "WAITING_FOR_HUMAN",
} as const;

function awaitStep(intent: ModelIntent, step: ModelStep): void {
  const { kind } = step.wait as ModelWait;
  log(intent, "step_waiting", step.key);
  intent.status = "WAITING";
  intent.reason = REASONS[kind];
  intent.parkedOn = [step.key];
  log(intent, "waiting", `${intent.reason} ${step.key}`);
  if (kind === "human") log(intent, "human_task_assigned", step.key);
}

/** An intent that is nothing but a person's task. */
export function assign(intent: ModelIntent, key: string): void {
  const step = stepOf(intent, key) as ModelStep;
  if (step.status === "superseded") step.generation = intent.generation;
  step.status = "waiting";
  step.worked += 1;
  step.ran += 1;
  step.began = true;
  step.wait = { kind: "human", timeoutAt: null, ends: true };
  awaitStep(intent, step);
}

/** Such a task is assigned again when its intent is reopened; one that was decided by then is the end again. */
export function assignAgain(model: Model, intent: ModelIntent): void {
  const step = intent.steps.find(({ wait: known }) => known?.kind === "human" && known.ends);
  if (step?.status === "done") end(model, intent, { status: "COMPLETED", result: step.result });
  else if (step !== undefined) assign(intent, step.key);
}

/** What is waited for is there: recorded in the same commit (W1). */
export function wake(
  model: Model,
  intent: ModelIntent,
  step: ModelStep,
  result: unknown,
  signal: number | null = null,
): void {
  markDone(intent, step, result, signal);
  goOn(model, intent, step);
}

function goOn(model: Model, intent: ModelIntent, step: ModelStep): void {
  intent.parkedOn = [];
  if (step.wait?.kind === "human" && step.wait.ends) {
    end(model, intent, { status: "COMPLETED", result: step.result });
    return;
  }
  if (completeIfPlanDone(model, intent, step)) return;
  intent.status = "IN_PROGRESS";
  intent.reason = null;
  log(intent, "resumed", step.key);
}

/** A plan whose step nobody finished ends with it. */
function giveUp(model: Model, intent: ModelIntent, step: ModelStep): void {
  step.status = "failed";
  step.final = true;
  step.failedAs = null;
  log(intent, "step_failed", step.key);
  if (step.declared) end(model, intent, { status: "FAILED", error: "wait_timeout" });
}

export function waitDueAt(intent: ModelIntent): number | null {
  const step = parkedWait(intent);
  return step === undefined ? null : overAt(step.wait as ModelWait);
}

/** Its time has come. */
export function settleWait(model: Model, intent: ModelIntent): void {
  const step = parkedWait(intent) as ModelStep;
  if (step.wait?.kind === "time") wake(model, intent, step, null);
  else {
    giveUp(model, intent, step);
    if (!isOver(intent)) goOn(model, intent, step);
  }
}

/** Kept until a wait takes it, the oldest first; each is taken once (W2, I14). */
export function signal(model: Model, intent: ModelIntent, name: string, data: unknown): Verdict {
  if (isOver(intent)) return "intent_terminal";
  const step = parkedWait(intent);
  const taker = step?.wait?.kind === "signal" && step.wait.name === name ? step : undefined;
  const no = intent.log.length + 1;
  intent.signals.push({ no, name, data, takenBy: taker?.key ?? null });
  log(intent, "signaled", `${name} ${JSON.stringify(data)} ${taker?.key ?? ""}`);
  if (taker !== undefined) wake(model, intent, taker, data, no);
  return `ok ${no} ${taker !== undefined} ${intent.status}`;
}

/** A person's decision: the first one counts, the same again is told so, another is refused (W2). */
export function answerTask(model: Model, intent: ModelIntent, key: string | null, answer: Answer): Verdict {
  const step = parkedWait(intent);
  if (step?.wait?.kind === "human" && (key === null || key === step.key)) {
    if (answer.outcome === "perhaps") return "validation_failed";
    const { outcome, comment } = answer;
    wake(model, intent, step, { outcome, ...(comment === null ? {} : { comment }) });
    return "ok applied";
  }
  const decided = intent.steps
    .filter((one) => one.wait?.kind === "human" && one.status === "done" && (key === null || one.key === key))
    .sort((a, b) => b.doneAt - a.doneAt)[0];
  if (decided === undefined) return "no_human_task";
  const known = decided.result as { outcome?: string; comment?: string } | null;
  const same = known?.outcome === answer.outcome && (known.comment ?? null) === answer.comment;
  return same ? "ok again" : "already_decided";
}

// Waiting: an intent is parked on a step that somebody else finishes, without a lease and without cost, and goes on when
// that is done (DELIVERY W1 to W3). What satisfies a wait is looked up by the caller and handed in.

import { apply, type Draft, editStep, emit } from "../draft.ts";
import type { Step } from "../intent.ts";
import { RawJson } from "../raw-json.ts";
import { Refusal } from "../refusal.ts";
import {
  beginHumanWait,
  beginWait,
  type HumanWait,
  REASON_OF,
  type Wait,
  type WaitingStep,
  type WaitRequest,
  waitDueAt,
  waitingSteps,
} from "../wait.ts";
import { waitToJson } from "../wait-json.ts";
import { closeAttempt } from "./close.ts";
import { requireOpenAttempt } from "./fence.ts";
import { finish } from "./finish.ts";
import { type DoneOrigin, markDone, stepToRecord } from "./steps.ts";

export interface ParkInput {
  readonly attempt: number;
  readonly wait: WaitRequest;
  readonly stepsMax: number;
  /** What the wait asks for if it is there already. */
  readonly lookUp: (wait: Wait) => Found | undefined;
}

export interface Found extends DoneOrigin {
  readonly result: RawJson;
}

/** Done at once if it is satisfied already; else the attempt ends here, and the intent is delivered again when it is. */
export function park(draft: Draft, key: string, input: ParkInput): Step {
  const known = draft.steps.get(key);
  if (known?.status === "done") return known;
  requireOpenAttempt(draft, input.attempt);
  if (known !== undefined && isFinal(known)) return known;
  const others = draft.intent.openSteps.filter((open) => open !== key);
  if (others.length > 0) {
    throw new Refusal(
      "steps_pending",
      `${others.length === 1 ? "a step is" : `${others.length} steps are`} still running; record ${others.length === 1 ? "it" : "them"}, then wait`,
      { steps: others },
    );
  }
  const fresh = known === undefined || known.status === "superseded";
  const step = stepToRecord(draft, key, input.stepsMax);
  // The first wait counts: a sleep that was interrupted is not slept again from its beginning.
  const wait = (fresh ? null : step.wait) ?? beginWait(input.wait, draft.now);
  step.wait = wait;
  step.startedAt ??= draft.now;
  const found = input.lookUp(wait);
  if (found !== undefined) {
    const { result, ...origin } = found;
    markDone(draft, step, result, origin);
    return step;
  }
  if (isOver(wait, draft.now)) {
    settleDue(draft, step as WaitingStep);
    return step;
  }
  suspend(draft, step as WaitingStep);
  return step;
}

const isFinal = (step: Step): boolean =>
  step.status === "failed" &&
  step.error !== null &&
  (step.error.parse() as { final?: boolean }).final === true;

const isOver = (wait: Wait, now: number): boolean =>
  wait.kind === "time" ? wait.until <= now : wait.timeoutAt !== null && wait.timeoutAt <= now;

function suspend(draft: Draft, step: WaitingStep): void {
  const { intent } = draft;
  intent.openSteps = intent.openSteps.filter((open) => open !== step.key);
  step.status = "waiting";
  step.finishedAt = null;
  closeAttempt(draft);
  awaitSteps(draft, [step]);
}

/** The intent is WAITING on these steps; nobody holds it. */
export function awaitSteps(draft: Draft, steps: readonly WaitingStep[]): void {
  const { intent } = draft;
  const first = steps[0];
  if (first === undefined) return;
  for (const { key, tries, wait } of steps)
    emit(draft, "intent.step_waiting", { key, tries, wait: waitToJson(wait) });
  apply(draft, "wait");
  intent.waitingReason = REASON_OF[first.wait.kind];
  intent.openSteps = steps.map((step) => step.key);
  setWakeAt(draft);
  emit(draft, "intent.waiting", { reason: intent.waitingReason, steps: intent.openSteps });
  for (const { key, wait } of steps) {
    if (wait.kind !== "human") continue;
    const { title, assignees, allowedOutcomes } = wait.task;
    emit(draft, "intent.human_task_assigned", { key, title, assignees, allowed_outcomes: allowedOutcomes });
  }
}

/** An intent that is nothing but a person's task is assigned again when it is reopened. */
export function assignAgain(draft: Draft): void {
  for (const known of draft.steps.values()) {
    if (known.wait?.kind !== "human" || !known.wait.ends || known.status === "done") continue;
    const step = editStep(draft, known.key);
    step.status = "waiting";
    step.wait = beginHumanWait(known.wait.task, null, draft.now, true);
    awaitSteps(draft, [step as WaitingStep]);
  }
}

function setWakeAt(draft: Draft): void {
  let wakeAt: number | null = null;
  for (const step of waitingSteps(draft.intent, draft.steps)) {
    const due = waitDueAt(step.wait);
    if (due !== null && (wakeAt === null || due < wakeAt)) wakeAt = due;
  }
  draft.intent.wakeAt = wakeAt;
}

/** What the step waited for is there: recorded in this commit, so that no crash can forget it (W1). */
export function wake(draft: Draft, key: string, { result, ...origin }: Found): void {
  const step = editStep(draft, key);
  markDone(draft, step, result, origin);
  goOn(draft, step);
}

function giveUp(draft: Draft, step: Step): void {
  const error = {
    code: "wait_timeout",
    message: `step ${JSON.stringify(step.key)} waited in vain`,
    retryable: false,
  };
  step.status = "failed";
  step.finishedAt = draft.now;
  step.error = RawJson.of({ ...error, final: true });
  draft.intent.openSteps = draft.intent.openSteps.filter((open) => open !== step.key);
  emit(draft, "intent.step_failed", { key: step.key, tries: step.tries, final: true, error });
  if (endsWith(step) && draft.intent.status === "WAITING")
    finish(draft, { status: "FAILED", result: null, error });
}

const endsWith = (step: Step): boolean => step.wait?.kind === "human" && step.wait.ends;

/** Nothing left to wait for: the intent goes back to the queue's front, or ends if there is nothing left to do. */
function goOn(draft: Draft, step: Step): void {
  const { intent } = draft;
  if (intent.status !== "WAITING") return;
  setWakeAt(draft);
  if (intent.openSteps.length > 0) return;
  const planDone = step.position !== null && intent.stepsDone >= intent.stepsTotal;
  if (step.status === "done" && (endsWith(step) || planDone)) {
    finish(draft, { status: "COMPLETED", result: step.result, error: null });
    return;
  }
  apply(draft, "wake");
  emit(draft, "intent.resumed", { steps: [step.key] });
}

/** What time does to a wait: it is over, it timed out, somebody is reminded. */
function settleDue(draft: Draft, step: WaitingStep): void {
  const { wait } = step;
  if (wait.kind === "time") markDone(draft, step, NULL);
  else if (isOver(wait, draft.now)) giveUp(draft, step);
  else if (wait.kind === "human") remind(draft, step, wait);
}

const NULL = new RawJson("null");

/** Everything that is due of what the intent waits for. True when something happened. */
export function tickWaits(draft: Draft): boolean {
  const { intent, now } = draft;
  if (intent.wakeAt === null || now < intent.wakeAt) return false;
  for (const waiting of waitingSteps(intent, draft.steps)) {
    const due = waitDueAt(waiting.wait);
    if (due === null || due > now) continue;
    const step = editStep(draft, waiting.key) as WaitingStep;
    settleDue(draft, step);
    goOn(draft, step);
  }
  if (intent.status === "WAITING") setWakeAt(draft);
  return true;
}

function remind(draft: Draft, step: WaitingStep, wait: HumanWait): void {
  const { task } = wait;
  const { key } = step;
  const about = { key, title: task.title, assignees: task.assignees };
  if (wait.reminders < task.maxReminders) {
    const reminders = wait.reminders + 1;
    const more = reminders < task.maxReminders || task.escalateTo !== null;
    const interval = task.remindIntervalMs ?? task.remindAfterMs;
    const remindAt = more && interval !== null ? draft.now + interval : null;
    step.wait = { ...wait, reminders, remindAt };
    emit(draft, "intent.reminder", { ...about, reminder: reminders, of: task.maxReminders });
    return;
  }
  step.wait = { ...wait, remindAt: null, escalated: true };
  if (task.escalateTo !== null) emit(draft, "intent.escalated", { ...about, escalate_to: task.escalateTo });
}

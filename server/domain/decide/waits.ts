// Waiting: an intent is parked on a step that somebody else finishes, without a lease and without cost, and goes on when
// that is done (DELIVERY W1 to W3). What satisfies a wait is looked up by the caller and handed in.

import { apply, type Draft, editStep, emit } from "../draft.ts";
import type { Failure, Step } from "../intent.ts";
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
import { handBackIfPaused } from "./attempt.ts";
import { closeAttempt } from "./close.ts";
import { requireOpenAttempt } from "./fence.ts";
import { finish } from "./finish.ts";
import { beginAnew, type DoneOrigin, markDone, stepToRecord, waitOf } from "./steps.ts";

export interface ParkInput {
  readonly attempt: number;
  readonly wait: WaitRequest;
  readonly stepsMax: number;
  /** As the plan's last step it completes the intent. */
  readonly completeIntent: boolean;
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
  // The very attempt that it parked asks again: the answer was lost.
  if (known?.status === "waiting" && known.attempt === input.attempt) return known;
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
  const first = fresh || step.wait === null || !isFor(step.wait, input.wait) ? null : step.wait;
  // The first wait for the same thing counts: a sleep that was interrupted is not slept again from its beginning.
  const begun = first ?? beginWait(input.wait, draft.now);
  const wait: Wait = input.completeIntent ? begun : { ...begun, keepOpen: true };
  step.wait = wait;
  step.startedAt ??= draft.now;
  const found = input.lookUp(wait);
  // No entry of the log has told of this wait: the one that ends it does.
  if (found !== undefined) settle(draft, step, { ...found, wait });
  else if (isOver(wait, draft.now)) end(draft, step as WaitingStep, { wait });
  else suspend(draft, step as WaitingStep);
  return step;
}

/** Whether what is asked for is what was waited for before. */
function isFor(wait: Wait, request: WaitRequest): boolean {
  if (wait.kind === "signal") return request.kind === "signal" && request.name === wait.name;
  if (wait.kind === "intents") return request.kind === "intents" && request.ids.join() === wait.ids.join();
  return request.kind === wait.kind;
}

const isFinal = (step: Step): boolean =>
  step.status === "failed" && (step.error?.parse() as { final?: boolean } | undefined)?.final === true;

const isOver = (wait: Wait, now: number): boolean => {
  const until = wait.kind === "time" ? wait.until : wait.timeoutAt;
  return until !== null && until <= now;
};

function suspend(draft: Draft, step: WaitingStep): void {
  const { intent } = draft;
  intent.openSteps = intent.openSteps.filter((open) => open !== step.key);
  step.finishedAt = null;
  closeAttempt(draft);
  awaitStep(draft, step);
}

/** The intent is WAITING on this step; nobody holds it. */
export function awaitStep(draft: Draft, step: WaitingStep): void {
  const { intent } = draft;
  const { key, tries, wait } = step;
  step.status = "waiting";
  emit(draft, "intent.step_waiting", { key, tries, wait: waitToJson(wait) });
  apply(draft, "wait");
  intent.waitingReason = REASON_OF[wait.kind];
  intent.openSteps = [key];
  intent.wakeAt = waitDueAt(wait);
  emit(draft, "intent.waiting", { reason: intent.waitingReason, steps: intent.openSteps });
  if (wait.kind !== "human") return;
  const { title, assignees, allowedOutcomes } = wait.task;
  emit(draft, "intent.human_task_assigned", { key, title, assignees, allowed_outcomes: allowedOutcomes });
}

/** An intent that is nothing but a person's task goes to nobody when it is reopened: it is assigned again, or is over. */
export function assignAgain(draft: Draft): void {
  for (const known of draft.steps.values()) {
    if (known.wait?.kind !== "human" || !known.wait.ends) continue;
    // It was decided, and nothing else is left to do.
    if (known.status === "done")
      return void finish(draft, { status: "COMPLETED", result: known.result, error: null });
    const { task } = known.wait;
    const step = editStep(draft, known.key);
    if (step.status === "superseded") beginAnew(draft, step);
    step.wait = beginHumanWait(task, null, draft.now, true);
    awaitStep(draft, step as WaitingStep);
  }
}

/** What the step waited for is there: recorded in this commit, so that no crash can forget it (W1). */
export function wake(draft: Draft, key: string, found: Found): void {
  settle(draft, editStep(draft, key), found);
}

function settle(draft: Draft, step: Step, { result, ...origin }: Found): void {
  markDone(draft, step, result, origin);
  const { intent } = draft;
  const planDone = step.position !== null && intent.stepsDone >= intent.stepsTotal;
  if (decides(step, planDone)) finish(draft, { status: "COMPLETED", result, error: null });
  else goOn(draft, step);
}

/** Time ended the wait: a sleep is over, anything else was in vain. */
function end(draft: Draft, step: WaitingStep, told: { readonly wait?: Wait } = {}): void {
  if (step.wait.kind === "time") settle(draft, step, { result: NULL, ...told });
  else giveUp(draft, step, told);
}

const NULL = new RawJson("null");

function giveUp(draft: Draft, step: WaitingStep, told: { readonly wait?: Wait }): void {
  const message = `step ${JSON.stringify(step.key)} waited in vain`;
  failWait(draft, step, { code: "wait_timeout", message, retryable: false }, told);
}

/** What the step waited for has failed. */
export function failWait(
  draft: Draft,
  step: Step,
  error: Failure,
  told: { readonly wait?: Wait } = {},
): void {
  const { intent } = draft;
  step.status = "failed";
  step.finishedAt = draft.now;
  step.error = RawJson.of({ ...error, final: true });
  intent.openSteps = intent.openSteps.filter((open) => open !== step.key);
  emit(draft, "intent.step_failed", {
    key: step.key,
    tries: step.tries,
    final: true,
    ...waitOf(told),
    error,
  });
  if (decides(step, step.position !== null)) finish(draft, { status: "FAILED", result: null, error });
  else goOn(draft, step);
}

/** Whether the wait's end is the intent's: it is nothing but that task, or this is how its plan ends. */
const decides = ({ wait }: Step, byPlan: boolean): boolean =>
  (wait?.kind === "human" && wait.ends) || (byPlan && wait?.keepOpen !== true);

/** The intent goes back to the queue's front; one that did not wait at all stays with its holder, unless it is paused. */
function goOn(draft: Draft, step: Step): void {
  if (draft.intent.status !== "WAITING") return void handBackIfPaused(draft);
  draft.intent.wakeAt = null;
  apply(draft, "wake");
  emit(draft, "intent.resumed", { steps: [step.key] });
}

/** What is due of what the intent waits for. True when something happened. */
export function tickWait(draft: Draft): boolean {
  const { intent, now } = draft;
  const [waiting] = waitingSteps(intent, draft.steps);
  if (waiting === undefined || intent.wakeAt === null || now < intent.wakeAt) return false;
  const step = editStep(draft, waiting.key) as WaitingStep;
  if (step.wait.kind === "human" && !isOver(step.wait, now)) remind(draft, step, step.wait);
  else end(draft, step);
  return true;
}

function remind(draft: Draft, step: WaitingStep, wait: HumanWait): void {
  const { task } = wait;
  const about = { key: step.key, title: task.title, assignees: task.assignees };
  if (wait.reminders < task.maxReminders) {
    const reminders = wait.reminders + 1;
    const more = reminders < task.maxReminders || task.escalateTo !== null;
    const interval = Number(task.remindIntervalMs ?? task.remindAfterMs);
    step.wait = { ...wait, reminders, remindAt: more ? draft.now + interval : null };
    emit(draft, "intent.reminder", { ...about, reminder: reminders, of: task.maxReminders });
  } else {
    step.wait = { ...wait, remindAt: null, escalated: true };
    emit(draft, "intent.escalated", {
      ...about,
      escalate_to: task.escalateTo,
      escalated_to: task.escalateTo,
    });
  }
  draft.intent.wakeAt = waitDueAt(step.wait);
}

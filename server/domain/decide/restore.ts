// Restoring an intent to an earlier entry of its log: as if its agent had crashed right after it (S6). History is not
// rewritten: the restore is an entry like any other, and can itself be undone by restoring to an entry before it.

import { apply, type Draft, editStep, emit } from "../draft.ts";
import { type Folded, type FoldedStep, restoredTo } from "../fold.ts";
import type { Step } from "../intent.ts";
import { isTerminal } from "../lifecycle.ts";
import { RawJson } from "../raw-json.ts";
import { isOverdue } from "../schedule.ts";
import { waitToJson } from "../wait-json.ts";
import { closeAttempt } from "./close.ts";
import { resetCounters } from "./operator.ts";
import { assignAgain } from "./waits.ts";

export interface RestoreInput {
  readonly to: number;
  /** The checkpoint that was named, if one was. */
  readonly name: string | null;
  /** The log folded up to that entry, and up to now. */
  readonly past: Folded;
  readonly present: Folded;
}

export interface Restored {
  readonly kept: readonly string[];
  /** Begun by then and not done by then: they run again, under the same idempotency key. */
  readonly runAgain: readonly string[];
  readonly superseded: readonly string[];
  /** The signals that done steps have taken; all others are unread again. */
  readonly signals: readonly { readonly no: number; readonly takenBy: string }[];
}

export function restore(draft: Draft, input: RestoreInput): Restored {
  const { intent } = draft;
  const from = intent.status;
  // The holder is fenced: its attempt is over, and what it was in the middle of is told as interrupted first.
  if (intent.consumerId !== null) closeAttempt(draft);
  intent.openSteps = [];
  intent.stepDeadline = null;
  // What was never due before is not due by going back.
  const delayed = intent.attempt === 0 && !isTerminal(from) ? intent.availableAt : null;
  apply(draft, "restore");
  resetCounters(draft);
  intent.availableAt = delayed;
  if (isTerminal(from)) intent.queueAt = draft.now;
  if (isOverdue(intent, draft.now)) intent.deadlineAt = null;
  draft.outcome = null;
  const answer = rewriteSteps(draft, input.past, restoredTo(input.past, input.present));
  emit(draft, "intent.restored", {
    to: input.to,
    ...(input.name === null ? {} : { checkpoint: input.name }),
    from,
    kept: answer.kept,
    run_again: answer.runAgain,
    superseded: answer.superseded,
    in_doubt: [...draft.steps.values()].filter((step) => step.interrupted).map((step) => step.key),
  });
  assignAgain(draft);
  return answer;
}

function rewriteSteps(draft: Draft, past: Folded, folded: Folded): Restored {
  const { intent } = draft;
  const kept: string[] = [];
  const runAgain: string[] = [];
  const superseded: string[] = [];
  for (const known of [...draft.steps.values()]) {
    const target = folded.steps.get(known.key);
    if (target === undefined) continue;
    const then = past.steps.get(known.key);
    const same = isSame(known, target);
    // Also what an earlier restore or another plan has superseded: whatever it sent meanwhile ends with it.
    const ranOn = known.tries > (then?.tries ?? 0) || (!same && isWorkedOn(known));
    if (!same) overwrite(editStep(draft, known.key), target);
    if (target.status === "done") kept.push(known.key);
    // Begun by then, under the key that it keeps; whatever began only later is another one to the world.
    else if (then !== undefined && isBegun(then)) runAgain.push(known.key);
    else if (ranOn) superseded.push(known.key);
  }
  const declared = [...folded.steps.values()].filter((step) => step.position !== null);
  intent.planBy = folded.planBy;
  intent.planCursor = 0;
  intent.stepsTotal = declared.length;
  intent.stepsDone = (
    folded.planBy === null ? kept : declared.filter((step) => step.status === "done")
  ).length;
  intent.resultsBytes = [...draft.steps.values()].reduce((sum, step) => sum + recorded(step), 0);
  const signals = [...folded.steps.values()].flatMap(({ key, signal }) =>
    signal === null ? [] : [{ no: signal, takenBy: key }],
  );
  return { kept, runAgain, superseded, signals };
}

/** What was planned then and began later has another key: `tries` also counts those of an earlier life. */
const isBegun = (step: FoldedStep): boolean => step.status !== "superseded" && step.status !== "planned";

const isWorkedOn = (step: Step): boolean => step.status !== "planned" && step.status !== "superseded";

const recorded = ({ input, result, error }: Step): number =>
  [input, result, error].reduce((sum, one) => sum + Buffer.byteLength(one?.text ?? ""), 0);

const isSame = (step: Step, target: FoldedStep): boolean =>
  step.status === target.status &&
  step.position === target.position &&
  step.generation === target.generation &&
  step.seq === target.seq &&
  step.tries === target.tries &&
  step.interrupted === target.interrupted &&
  waitText(step) === waitText(target);

const waitText = ({ wait }: Pick<Step, "wait">): string =>
  wait === null ? "" : JSON.stringify(waitToJson(wait));

function overwrite(step: Step, target: FoldedStep): void {
  step.position = target.position;
  step.status = target.status;
  step.generation = target.generation;
  step.tries = target.tries;
  step.interrupted = target.interrupted;
  step.attempt = target.attempt;
  step.startedAt = target.startedAt;
  step.finishedAt = target.finishedAt;
  step.seq = target.seq;
  step.result = target.result;
  step.error = target.error === null ? null : RawJson.of(target.error);
  step.wait = target.wait;
}

// How an intent ends, whoever ended it: the attempt closes, the outcome is written once, the log says it (I3).

import { apply, type Draft, emit } from "../draft.ts";
import { TERMINAL_EVENTS } from "../event.ts";
import type { Failure, Outcome } from "../intent.ts";
import { nextStatus, type TerminalStatus } from "../lifecycle.ts";
import { declaredSteps, isUndone } from "../plan.ts";
import type { RawJson } from "../raw-json.ts";
import { closeForEnd } from "./close.ts";

const ACTION_OF = {
  COMPLETED: "complete",
  FAILED: "fail",
  CANCELED: "cancel",
  TIMED_OUT: "time_out",
} as const;
const UNDONE_SHOWN = 50;

export interface Ending {
  readonly status: TerminalStatus;
  readonly result: RawJson | null;
  readonly error: Failure | null;
  /** Identifies the write for replays; the same attempt and digest get the first answer again. */
  readonly digest?: string;
}

/** Moves the intent to a terminal status: the attempt ends, the outcome is written once, the log says it. */
export function finish(draft: Draft, ending: Ending): void {
  const { intent } = draft;
  const attempt = intent.consumerId === null ? null : intent.attempt;
  const undone = undoneSteps(draft);
  const action = ACTION_OF[ending.status];
  // Refused before anything is closed; what was interrupted is told while the intent still lives.
  nextStatus(intent.status, action);
  closeForEnd(draft);
  apply(draft, action);
  intent.availableAt = null;
  intent.wakeAt = null;
  intent.terminalDigest = ending.digest ?? null;
  const outcome: Outcome = {
    status: ending.status,
    code: ending.error?.code ?? null,
    result: ending.result,
    error: ending.error,
    attempt,
  };
  draft.outcome = outcome;
  emit(draft, TERMINAL_EVENTS[ending.status], {
    ...(ending.status === "COMPLETED" ? { result: ending.result } : { error: ending.error }),
    ...(undone.count > 0 ? { undone_steps: undone.count, undone: undone.keys } : {}),
  });
}

function undoneSteps(draft: Draft): { count: number; keys: string[] } {
  const count = draft.intent.stepsTotal - draft.intent.stepsDone;
  if (count <= 0) return { count: 0, keys: [] };
  const keys = declaredSteps(draft)
    .filter(isUndone)
    .slice(0, UNDONE_SHOWN)
    .map((step) => step.key);
  return { count, keys };
}

export function timeOut(draft: Draft): void {
  finish(draft, {
    status: "TIMED_OUT",
    result: null,
    error: { code: "deadline_exceeded", message: "the intent's deadline passed", retryable: false },
  });
}

// What a step waits for when somebody else finishes it: a signal, time, child intents, a person. Times are epoch
// milliseconds; what was asked for relative to now is made absolute once, when the wait begins.

import type { HumanTask } from "./human-task.ts";
import type { Intent, Step } from "./intent.ts";
import type { WaitingReason } from "./lifecycle.ts";

export type WaitRequest =
  | { readonly kind: "signal"; readonly name: string; readonly timeoutMs: number | null }
  | { readonly kind: "time"; readonly until: number | null; readonly delayMs: number | null }
  | { readonly kind: "intents"; readonly ids: readonly string[]; readonly timeoutMs: number | null }
  | { readonly kind: "human"; readonly task: HumanTask; readonly timeoutMs: number | null };

export type Wait =
  | { readonly kind: "signal"; readonly name: string; readonly timeoutAt: number | null }
  | { readonly kind: "time"; readonly until: number }
  | { readonly kind: "intents"; readonly ids: readonly string[]; readonly timeoutAt: number | null }
  | HumanWait;

export interface HumanWait {
  readonly kind: "human";
  readonly task: HumanTask;
  readonly timeoutAt: number | null;
  readonly assignedAt: number;
  /** The next reminder; null when there is none to come. */
  readonly remindAt: number | null;
  readonly reminders: number;
  readonly escalated: boolean;
  /** The intent is nothing but this task: its decision is the intent's result. */
  readonly ends: boolean;
}

export function beginWait(request: WaitRequest, now: number): Wait {
  switch (request.kind) {
    case "time":
      return { kind: "time", until: request.until ?? now + (request.delayMs ?? 0) };
    case "signal":
      return { kind: "signal", name: request.name, timeoutAt: later(now, request.timeoutMs) };
    case "intents":
      return { kind: "intents", ids: request.ids, timeoutAt: later(now, request.timeoutMs) };
    case "human":
      return beginHumanWait(request.task, later(now, request.timeoutMs), now, false);
  }
}

const later = (now: number, ms: number | null): number | null => (ms === null ? null : now + ms);

export function beginHumanWait(
  task: HumanTask,
  timeoutAt: number | null,
  now: number,
  ends: boolean,
): HumanWait {
  const remindAt = task.remindAfterMs === null ? null : now + task.remindAfterMs;
  return { kind: "human", task, timeoutAt, assignedAt: now, remindAt, reminders: 0, escalated: false, ends };
}

/** The next instant at which the wait changes by itself. */
export function waitDueAt(wait: Wait): number | null {
  if (wait.kind === "time") return wait.until;
  if (wait.kind !== "human" || wait.remindAt === null) return wait.timeoutAt;
  return wait.timeoutAt === null ? wait.remindAt : Math.min(wait.remindAt, wait.timeoutAt);
}

export const REASON_OF: { readonly [K in Wait["kind"]]: WaitingReason } = {
  signal: "WAITING_FOR_TOOL",
  time: "WAITING_FOR_TIME",
  intents: "WAITING_FOR_AGENT",
  human: "WAITING_FOR_HUMAN",
};

export type WaitingStep = Step & { wait: Wait };

/** The steps that the intent is parked on. */
export function waitingSteps(intent: Intent, steps: ReadonlyMap<string, Step>): WaitingStep[] {
  if (intent.status !== "WAITING") return [];
  return intent.openSteps.flatMap((key) => {
    const step = steps.get(key);
    return step?.status === "waiting" && step.wait !== null ? [step as WaitingStep] : [];
  });
}

// How an intent ends: complete, fail (with its retry policy), cancel, deadline. First commit wins (D10, I3).

import { createHash } from "node:crypto";
import { apply, type Draft, emit } from "../draft.ts";
import { TERMINAL_EVENTS } from "../event.ts";
import type { Failure, Outcome } from "../intent.ts";
import { isTerminal, type TerminalStatus } from "../lifecycle.ts";
import { isUndone } from "../plan.ts";
import type { RawJson } from "../raw-json.ts";
import { Refusal } from "../refusal.ts";
import { retryDelayMs } from "../retry.ts";
import { closeForEnd, endForRetry, requireOpenAttempt } from "./attempt.ts";

const ACTION_OF = { COMPLETED: "complete", FAILED: "fail", CANCELED: "cancel", TIMED_OUT: "time_out" } as const;
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
  apply(draft, ACTION_OF[ending.status]);
  closeForEnd(draft);
  intent.availableAt = null;
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
  const keys = [...draft.steps.values()]
    .filter((step) => step.position !== null && isUndone(step))
    .sort((a, b) => (a.position ?? 0) - (b.position ?? 0))
    .slice(0, UNDONE_SHOWN)
    .map((step) => step.key);
  return { count, keys };
}

export interface ResolveInput {
  readonly status: "COMPLETED" | "FAILED" | "CANCELED";
  /** Omitted by operators and by clients that know no attempts. */
  readonly attempt: number | null;
  readonly result: RawJson | null;
  readonly error: Failure | null;
  readonly retryable: boolean;
  /** 0..1, for the jitter of a retry. */
  readonly random: number;
  /** A live consumer holds the intent: without an attempt only an operator may end its work. */
  readonly holderIsLive: boolean;
}

export type ResolveOutcome = "finished" | "replayed" | "retry_scheduled";

export function resolveDigest(input: Pick<ResolveInput, "status" | "attempt" | "result" | "error">): string {
  const text = JSON.stringify([input.status, input.attempt, input.result?.text ?? null, input.error]);
  return createHash("sha256").update(text).digest("base64url").slice(0, 22);
}

export function resolve(draft: Draft, input: ResolveInput): ResolveOutcome {
  const { intent } = draft;
  const digest = resolveDigest(input);
  if (isTerminal(intent.status)) {
    if (intent.terminalDigest === digest && (input.attempt === null || input.attempt === intent.attempt)) return "replayed";
    if (input.attempt !== null && input.attempt < intent.attempt) requireOpenAttempt(draft, input.attempt);
    throw new Refusal("already_finished", `the intent already ended as ${intent.status}; a second, different end is refused`, {
      status: intent.status,
      current_attempt: intent.attempt,
      open: false,
    });
  }
  if (input.attempt !== null) requireOpenAttempt(draft, input.attempt);
  else if (input.status !== "CANCELED" && input.holderIsLive && !draft.actor.operator) {
    throw new Refusal("attempt_required", "a live agent holds this intent: send its attempt, or use an operator key", {
      current_attempt: intent.attempt,
    });
  }
  if (input.status === "FAILED" && scheduleRetry(draft, input)) return "retry_scheduled";
  finish(draft, { status: input.status, result: input.result, error: endingError(input), digest });
  return "finished";
}

function endingError(input: ResolveInput): Failure | null {
  if (input.status === "COMPLETED") return null;
  if (input.error !== null) return { ...input.error, retryable: input.retryable };
  return input.status === "CANCELED"
    ? { code: "canceled", message: "canceled", retryable: false }
    : { code: "failed", message: "the handler failed", retryable: input.retryable };
}

/** A handler's retryable failure follows the intent's policy; true when the intent lives on. */
function scheduleRetry(draft: Draft, input: ResolveInput): boolean {
  const { intent } = draft;
  const policy = intent.retry;
  if (!input.retryable || policy === null || intent.consumerId === null) return false;
  if (intent.retriesUsed >= policy.maxRetries) return false;
  const error = endingError(input) ?? { code: "failed", message: "the handler failed" };
  endForRetry(draft, error, retryDelayMs(policy, intent.retriesUsed + 1, input.random));
  return true;
}

export function cancel(draft: Draft, reason: string | null): "canceled" | "replayed" {
  const { intent } = draft;
  if (intent.status === "CANCELED") return "replayed";
  if (isTerminal(intent.status)) {
    throw new Refusal("intent_terminal", `the intent already ended as ${intent.status}`, { status: intent.status });
  }
  const message = reason ?? "canceled";
  finish(draft, { status: "CANCELED", result: null, error: { code: "canceled", message, retryable: false } });
  return "canceled";
}

export function timeOut(draft: Draft): void {
  finish(draft, {
    status: "TIMED_OUT",
    result: null,
    error: { code: "deadline_exceeded", message: "the intent's deadline passed", retryable: false },
  });
}


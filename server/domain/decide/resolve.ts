// Asking for an end: complete, fail (with the retry policy), cancel. First commit wins (D10, I3).

import { hash } from "node:crypto";
import { apply, type Draft, emit } from "../draft.ts";
import type { Failure } from "../intent.ts";
import { isTerminal } from "../lifecycle.ts";
import type { RawJson } from "../raw-json.ts";
import { Refusal } from "../refusal.ts";
import { retryDelayMs } from "../retry.ts";
import { endForRetry } from "./attempt.ts";
import { requireOpenAttempt } from "./fence.ts";
import { finish } from "./finish.ts";

export interface ResolveInput {
  readonly status: "COMPLETED" | "FAILED" | "CANCELED";
  /** Omitted by operators and by clients that know no attempts. */
  readonly attempt: number | null;
  readonly result: RawJson | null;
  readonly error: Failure | null;
  readonly retryable: boolean;
  /** The handler's own word on when to try again; null follows the policy. */
  readonly retryAfterMs?: number | null;
  /** 0..1, for the jitter of a retry. */
  readonly random: number;
  /** A live consumer holds the intent: without an attempt only an operator may end its work. */
  readonly holderIsLive: boolean;
}

export type ResolveOutcome = "finished" | "replayed" | "retry_scheduled";

export function resolveDigest(input: Pick<ResolveInput, "status" | "attempt" | "result" | "error">): string {
  const text = JSON.stringify([input.status, input.attempt, input.result?.text ?? null, input.error]);
  return hash("sha256", text, "base64url").slice(0, 22);
}

export function resolve(draft: Draft, input: ResolveInput): ResolveOutcome {
  const { intent } = draft;
  const digest = resolveDigest(input);
  if (isTerminal(intent.status)) {
    if (intent.terminalDigest === digest && (input.attempt === null || input.attempt === intent.attempt))
      return "replayed";
    if (input.attempt !== null && input.attempt < intent.attempt) requireOpenAttempt(draft, input.attempt);
    throw new Refusal(
      "already_finished",
      `the intent already ended as ${intent.status}; a second, different end is refused`,
      {
        status: intent.status,
        current_attempt: intent.attempt,
        open: false,
      },
    );
  }
  if (input.attempt !== null) requireOpenAttempt(draft, input.attempt);
  else if (input.status !== "CANCELED" && input.holderIsLive && !draft.actor.operator) {
    throw new Refusal(
      "attempt_required",
      "a live agent holds this intent: send its attempt, or use an operator key",
      {
        current_attempt: intent.attempt,
      },
    );
  }
  if (input.attempt !== null) beginImplied(draft);
  if (input.status === "FAILED" && scheduleRetry(draft, input)) return "retry_scheduled";
  finish(draft, {
    status: input.status,
    result: input.result,
    error: input.status === "COMPLETED" ? null : endingError(input),
    digest,
  });
  return "finished";
}

/** Whoever holds an intent and tells how it went has worked on it, whether it said so before or not. */
function beginImplied(draft: Draft): void {
  if (draft.intent.status === "IN_PROGRESS") return;
  apply(draft, "start");
  emit(draft, "intent.in_progress");
}

function endingError(input: ResolveInput): Failure {
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
  endForRetry(
    draft,
    policy,
    endingError(input),
    input.retryAfterMs ?? retryDelayMs(policy, intent.retriesUsed + 1, input.random),
  );
  return true;
}

export function cancel(draft: Draft, reason: string | null): "canceled" | "replayed" {
  const { intent } = draft;
  if (intent.status === "CANCELED") return "replayed";
  if (isTerminal(intent.status)) {
    throw new Refusal("intent_terminal", `the intent already ended as ${intent.status}`, {
      status: intent.status,
    });
  }
  const message = reason ?? "canceled";
  finish(draft, { status: "CANCELED", result: null, error: { code: "canceled", message, retryable: false } });
  return "canceled";
}

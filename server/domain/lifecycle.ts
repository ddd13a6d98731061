// The lifecycle of an intent as one total table: status × action → the next status, or a refusal code.
// It alone decides which status may follow which; the database CHECK, the API schema and docs/lifecycle.md
// are tested equal to it. Nothing here reads a clock, a database or an environment.

import { Refusal } from "./refusal.ts";

export const STATUSES = [
  "CREATED",
  "SUBMITTED",
  "DELIVERED",
  "ACKNOWLEDGED",
  "IN_PROGRESS",
  "WAITING",
  "COMPLETED",
  "FAILED",
  "CANCELED",
  "TIMED_OUT",
] as const;
export type Status = (typeof STATUSES)[number];

export const TERMINAL_STATUSES = ["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"] as const;
export type TerminalStatus = (typeof TERMINAL_STATUSES)[number];

export const WAITING_REASONS = [
  "WAITING_FOR_HUMAN",
  "WAITING_FOR_TOOL",
  "WAITING_FOR_AGENT",
  "WAITING_FOR_TIME",
] as const;
export type WaitingReason = (typeof WAITING_REASONS)[number];

export const ACTIONS = [
  "submit",
  "deliver",
  "acknowledge",
  "start",
  "end_attempt",
  "wait",
  "wake",
  "complete",
  "fail",
  "cancel",
  "time_out",
  "retry",
  "restore",
] as const;
export type Action = (typeof ACTIONS)[number];

type LifecycleRefusal =
  | "intent_terminal"
  | "not_delivered"
  | "not_waiting"
  | "already_submitted"
  | "not_retryable"
  | "not_submitted"
  | "intent_waiting";
export type Cell = Status | `!${LifecycleRefusal}`;

const ends = { complete: "COMPLETED", fail: "FAILED", cancel: "CANCELED", time_out: "TIMED_OUT" } as const;

const over = {
  submit: "!intent_terminal",
  deliver: "!intent_terminal",
  acknowledge: "!intent_terminal",
  start: "!intent_terminal",
  end_attempt: "!intent_terminal",
  wait: "!intent_terminal",
  wake: "!intent_terminal",
  complete: "!intent_terminal",
  fail: "!intent_terminal",
  cancel: "!intent_terminal",
  time_out: "!intent_terminal",
  retry: "SUBMITTED",
  restore: "SUBMITTED",
} as const;

export const LIFECYCLE: { readonly [S in Status]: { readonly [A in Action]: Cell } } = {
  CREATED: {
    submit: "SUBMITTED",
    deliver: "!not_submitted",
    acknowledge: "!not_delivered",
    start: "!not_delivered",
    end_attempt: "!not_delivered",
    wait: "WAITING",
    wake: "!not_waiting",
    ...ends,
    retry: "!not_retryable",
    restore: "!not_submitted",
  },
  SUBMITTED: {
    submit: "!already_submitted",
    deliver: "DELIVERED",
    acknowledge: "!not_delivered",
    start: "!not_delivered",
    end_attempt: "!not_delivered",
    wait: "WAITING",
    wake: "!not_waiting",
    ...ends,
    retry: "!not_retryable",
    restore: "SUBMITTED",
  },
  DELIVERED: {
    submit: "!already_submitted",
    deliver: "DELIVERED",
    acknowledge: "ACKNOWLEDGED",
    start: "IN_PROGRESS",
    end_attempt: "DELIVERED",
    wait: "WAITING",
    wake: "!not_waiting",
    ...ends,
    retry: "!not_retryable",
    restore: "SUBMITTED",
  },
  ACKNOWLEDGED: {
    submit: "!already_submitted",
    deliver: "ACKNOWLEDGED",
    acknowledge: "ACKNOWLEDGED",
    start: "IN_PROGRESS",
    end_attempt: "ACKNOWLEDGED",
    wait: "WAITING",
    wake: "!not_waiting",
    ...ends,
    retry: "!not_retryable",
    restore: "SUBMITTED",
  },
  IN_PROGRESS: {
    submit: "!already_submitted",
    deliver: "IN_PROGRESS",
    acknowledge: "IN_PROGRESS",
    start: "IN_PROGRESS",
    end_attempt: "IN_PROGRESS",
    wait: "WAITING",
    wake: "!not_waiting",
    ...ends,
    retry: "!not_retryable",
    restore: "SUBMITTED",
  },
  WAITING: {
    submit: "!already_submitted",
    deliver: "!intent_waiting",
    acknowledge: "!intent_waiting",
    start: "!intent_waiting",
    end_attempt: "!intent_waiting",
    wait: "WAITING",
    wake: "IN_PROGRESS",
    ...ends,
    retry: "!not_retryable",
    restore: "SUBMITTED",
  },
  COMPLETED: { ...over, retry: "!not_retryable" },
  FAILED: over,
  CANCELED: over,
  TIMED_OUT: over,
};

const REFUSAL_TEXT: { readonly [R in LifecycleRefusal]: string } = {
  intent_terminal: "the intent has already ended; only an operator's retry or restore can reopen it",
  not_delivered: "the intent is not delivered to an agent",
  not_waiting: "the intent is not waiting",
  already_submitted: "the intent is already submitted",
  not_retryable: "only a FAILED, CANCELED or TIMED_OUT intent can be retried",
  not_submitted: "the intent is not submitted yet",
  intent_waiting: "the intent is waiting; resume it or settle what it waits for first",
};

export function isTerminal(status: Status): status is TerminalStatus {
  return status === "COMPLETED" || status === "FAILED" || status === "CANCELED" || status === "TIMED_OUT";
}

/** The status after `action`, or a Refusal that says why not. */
export function nextStatus(status: Status, action: Action): Status {
  const cell = LIFECYCLE[status][action];
  if (cell.startsWith("!")) {
    const code = cell.slice(1) as LifecycleRefusal;
    throw new Refusal(code, REFUSAL_TEXT[code], { status, action });
  }
  return cell as Status;
}

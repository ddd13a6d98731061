// The catalogue of events and the shape of one entry of an intent's log.

import type { Status, TerminalStatus, WaitingReason } from "./lifecycle.ts";

export const EVENT_TYPES = [
  "intent.created",
  "intent.submitted",
  "intent.delivered",
  "intent.acknowledged",
  "intent.in_progress",
  "intent.waiting",
  "intent.resumed",
  "intent.step_running",
  "intent.step_done",
  "intent.step_failed",
  "intent.step_interrupted",
  "intent.step_waiting",
  "intent.step_decided",
  "intent.progress",
  "intent.state_changed",
  "intent.checkpoint_named",
  "intent.paused",
  "intent.unpaused",
  "intent.lost",
  "intent.released",
  "intent.redelivery_scheduled",
  "intent.retry_scheduled",
  "intent.stale_write_refused",
  "intent.signaled",
  "intent.human_task_assigned",
  "intent.reminder",
  "intent.escalated",
  "intent.retried",
  "intent.restored",
  "intent.delivery_failed",
  "intent.completed",
  "intent.failed",
  "intent.canceled",
  "intent.timed_out",
  "intent.policy_changed",
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

export const TERMINAL_EVENTS: { readonly [S in TerminalStatus]: EventType } = {
  COMPLETED: "intent.completed",
  FAILED: "intent.failed",
  CANCELED: "intent.canceled",
  TIMED_OUT: "intent.timed_out",
};

/** One entry of an intent's log. `details` is JSON-encodable and may hold RawJson leaves; times are epoch ms. */
export interface IntentEvent {
  readonly intentId: string;
  readonly namespace: string;
  readonly seq: number;
  readonly type: EventType;
  readonly status: Status;
  readonly waitingReason: WaitingReason | null;
  readonly attempt: number | null;
  readonly actor: string;
  readonly at: number;
  readonly details: unknown;
}

// Owns: the wire shapes an agent meets: stream frames, deliveries, steps, heartbeats. Must not: contain behaviour beyond reading them.
import type { Wire } from "./intents.ts";

/** First frame of an agent stream. */
export interface StreamOpen {
  consumer_id: string;
  heartbeat_interval_ms: number;
  lease_ttl_ms: number;
}

export interface WireStep {
  key: string;
  status: "planned" | "running" | "waiting" | "done" | "failed" | "interrupted" | "superseded";
  result?: unknown;
  error?: { code?: string; message?: string; retryable?: boolean; final?: boolean; details?: unknown } | null;
  idempotency_key: string;
  tries: number;
  /** Part of the plan. */
  declared?: boolean;
  /** Ran in an attempt that ended before the step was recorded: its effect may have happened. */
  interrupted?: boolean;
  timeout_seconds?: number | null;
  retry?: Wire | null;
  /** How long the recorded try took; only of done steps. */
  duration_ms?: number | null;
}

/** One intent handed to this consumer, with everything needed to go on. `fetch`: too large for a frame, ask for it. */
export interface Delivery {
  intent_id: string;
  attempt: number;
  fetch?: boolean;
  redelivered: boolean;
  plan_by: "sender" | "agent" | null;
  intent: Wire;
  steps: WireStep[];
  next_step: { key: string; interrupted: boolean } | null;
}

/** What start answers. `steps` are as they stand, the next one begun unless that was refused. */
export interface Started {
  status: string;
  plan_by: "sender" | "agent" | null;
  steps: WireStep[];
  cancel?: boolean;
  pause?: boolean;
}

/** What recording or beginning a step answers. */
export interface StepAnswer {
  step: WireStep;
  begun?: WireStep | null;
  intent_status: string;
  pause?: boolean;
}

export interface Held {
  intent_id: string;
  attempt: number;
}

export interface HeartbeatAnswer {
  held?: (Held & { cancel?: boolean; pause?: boolean })[];
  lost?: (Held & { reason?: string })[];
  canceled?: (Held & { status?: string; reason?: string })[];
  paused?: Held[];
}

/** Whether the step's failure is recorded for good, so that a replay throws it instead of running again. */
export function failedForGood(step: WireStep): boolean {
  return step.status === "failed" && step.error?.final === true;
}

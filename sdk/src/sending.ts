// Owns: what a sender may ask for, and its wire form. Must not: do I/O.
import { compact, optional } from "./absent.ts";
import type { Retry } from "./backoff.ts";
import { type Duration, toMs, toSeconds } from "./duration.ts";
import { PerdureError } from "./errors.ts";
import { stableHash } from "./hash.ts";
import { type HumanTask, humanTaskToWire } from "./human-task.ts";
import type { Wire } from "./intents.ts";

/** What becomes of a step that ran when its agent was lost: run again (default), fail the intent, or ask an operator. */
export type OnInterrupt = "retry" | "fail" | "ask";

/** A declared step. Keys are unique within the intent. */
export interface StepPlan {
  key: string;
  title?: string;
  onInterrupt?: OnInterrupt;
  /** Longest time for one try. */
  timeout?: Duration;
  retry?: Retry;
}

/** How much is kept of an intent. What is left out is the server's to decide: by default 30 days, and all versions. */
export interface Retention {
  /** Versions of each key of its state. What a checkpoint names is always kept. */
  keep?: "all" | "latest" | number;
  /** Everything, counted from its end. */
  maxAge?: Duration;
}

/** An intent to be sent. */
export interface IntentInput<P = unknown> {
  intentType: string;
  /** `agent://org/workspace/name`, `workspace/name` or `name`. */
  toAgent: string;
  /** Any JSON object. */
  payload: P;
  /** Sending the same input with the same key again answers the first intent. Made up when left out. */
  idempotencyKey?: string;
  /** The plan: the agent gets one step after the other, and the last one done completes the intent. */
  steps?: (string | StepPlan)[];
  /** A label to find and group intents by. */
  session?: string;
  /** Higher goes first; default 0. */
  priority?: number;
  /** Not delivered before. */
  deliverAt?: Date | string;
  /** TIMED_OUT after this long, counted from creation. */
  ttl?: Duration;
  /** Longest time one delivery may take. */
  attemptTimeout?: Duration;
  /** Deliveries that may be lost in a row without progress; default 3. */
  maxDeliveryAttempts?: number;
  /** What a handler's own retryable failure leads to; default no retries. */
  retry?: Retry;
  /** Default for every step. */
  onInterrupt?: OnInterrupt;
  /** No agent's work: it waits for people at once, and their Decision is the result. The task's deadline limits the intent. */
  humanTask?: HumanTask;
  /** The intent it belongs to: canceled with it, found by it. Inside a handler use `ctx.sendIntent`. */
  parentIntentId?: string;
  /** Not canceled with its parent. */
  detached?: boolean;
  /** Address whose inbox gets the outcome. */
  replyTo?: string;
  metadata?: Record<string, string>;
  correlationId?: string;
  retention?: Retention;
}

/** The body of `POST /v1/intents`. Throws `validation_failed` for what can be seen to be wrong from here. */
export function intentToWire(input: IntentInput): Wire {
  if (!input.intentType || !input.toAgent) {
    throw new PerdureError("validation_failed", "an intent needs intentType and toAgent");
  }
  return compact({
    intent_type: input.intentType,
    to_agent: input.toAgent,
    payload: input.payload,
    steps: input.steps?.map((step) => (typeof step === "string" ? step : stepPlanToWire(step))),
    session: input.session,
    priority: input.priority,
    deliver_at: input.deliverAt instanceof Date ? input.deliverAt.toISOString() : input.deliverAt,
    ttl_seconds: ttlOf(input),
    attempt_timeout_seconds: optional(input.attemptTimeout, toSeconds),
    max_delivery_attempts: input.maxDeliveryAttempts,
    retry: optional(input.retry, retryToWire),
    on_interrupt: input.onInterrupt,
    human_task: optional(input.humanTask, humanTaskToWire),
    parent_intent_id: input.parentIntentId,
    detached: input.detached,
    reply_to: input.replyTo,
    metadata: input.metadata,
    correlation_id: input.correlationId,
    retention: optional(input.retention, ({ keep, maxAge }) =>
      compact({ keep, max_age_seconds: optional(maxAge, toSeconds) }),
    ),
  });
}

/** The shorter of the intent's own and its task's time. */
function ttlOf({ ttl, humanTask }: IntentInput): number | undefined {
  const limits = [ttl, humanTask?.deadline].filter((limit) => limit !== undefined).map(toSeconds);
  return limits.length === 0 ? undefined : Math.min(...limits);
}

/** One key for a list of inputs that have keys of their own; undefined when none has. */
export function batchKey(inputs: readonly IntentInput[]): string | undefined {
  if (inputs.every((input) => input.idempotencyKey === undefined)) return undefined;
  const text = JSON.stringify(inputs.map((input) => input.idempotencyKey ?? null));
  return `batch-${inputs.length}-${stableHash(text)}`;
}

export function stepPlanToWire(plan: StepPlan): Wire {
  return compact({
    key: plan.key,
    title: plan.title,
    on_interrupt: plan.onInterrupt,
    timeout_seconds: optional(plan.timeout, toSeconds),
    retry: optional(plan.retry, retryToWire),
  });
}

export function retryToWire(retry: Retry): Wire {
  return compact({
    max_retries: retry.maxRetries,
    initial_delay_ms: optional(retry.initialDelay, toWholeMs),
    factor: retry.factor,
    max_delay_ms: optional(retry.maxDelay, toWholeMs),
  });
}

export function retryFromWire(wire: Wire | null | undefined): Retry | undefined {
  if (wire === null || wire === undefined) return undefined;
  return compact({
    maxRetries: wire.max_retries ?? 0,
    initialDelay: wire.initial_delay_ms ?? undefined,
    factor: wire.factor ?? undefined,
    maxDelay: wire.max_delay_ms ?? undefined,
  }) as unknown as Retry;
}

function toWholeMs(duration: Duration): number {
  return Math.round(toMs(duration));
}

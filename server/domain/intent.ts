// What the server knows about an intent while it decides: the changing row, its steps, its outcome.
// Times are epoch milliseconds of the database's clock; JSON travels as RawJson, never re-encoded.

import { type Access, EVERYTHING } from "./access.ts";
import type { Status, TerminalStatus, WaitingReason } from "./lifecycle.ts";
import type { RawJson } from "./raw-json.ts";
import type { Wait } from "./wait.ts";

export const STEP_STATUSES = [
  "planned",
  "running",
  "done",
  "failed",
  "interrupted",
  "waiting",
  "superseded",
] as const;
export type StepStatus = (typeof STEP_STATUSES)[number];

export const ON_INTERRUPT = ["retry", "fail", "ask"] as const;
export type OnInterrupt = (typeof ON_INTERRUPT)[number];

/** Who can pause an intent; it is paused while any of them does. */
export type Pauser = "intent" | "session" | "agent";

export interface RetryPolicy {
  readonly maxRetries: number;
  readonly initialDelayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
}

export interface Intent {
  id: string;
  namespace: string;
  toAgent: string;
  /** Canonical address of whoever sent it; null when nobody in particular did. */
  sentBy: string | null;
  intentType: string;
  status: Status;
  waitingReason: WaitingReason | null;
  seq: number;
  attempt: number;
  /** Grows at every operator retry and restore. */
  generation: number;
  /** How often its policy was changed. */
  patches: number;
  /** The server leads it through its scenario: it is handed to no agent. */
  conducted: boolean;
  /** Owner of the open attempt; null when none is open. */
  consumerId: string | null;
  /** The open attempt went out through a window: its agent knows no attempts, and no sign of its life is to be expected. */
  windowed: boolean;
  /** A step has begun in the open attempt. */
  started: boolean;
  deliveredAt: number | null;
  /** Deliveries lost since the last recorded progress (`lost_deliveries` on the wire). */
  strikes: number;
  totalLosses: number;
  retriesUsed: number;
  /** Consecutive releases without progress. */
  releases: number;
  priority: number;
  queueAt: number;
  /** Not before this instant; null when nothing delays the intent. */
  availableAt: number | null;
  deadlineAt: number | null;
  /** Anybody paused it. */
  paused: boolean;
  pausedBy: readonly Pauser[];
  /** The next instant at which something it waits for changes by itself. */
  wakeAt: number | null;
  parentId: string | null;
  hasChildren: boolean;
  /** Versions kept of each key of its state; null: all. */
  keepVersions: number | null;
  /** How long it is kept after its end; null: the server's default. */
  retainMs: number | null;
  planBy: "sender" | "agent" | null;
  /** No declared step before this position is undone. */
  planCursor: number;
  stepsCount: number;
  stepsTotal: number;
  stepsDone: number;
  openSteps: readonly string[];
  /** Bytes of results and errors that its steps have recorded. */
  resultsBytes: number;
  stepDeadline: number | null;
  /** The highest stale attempt whose refusal is already in the log. */
  refusedAttempt: number;
  terminalDigest: string | null;
  maxDeliveryAttempts: number;
  attemptTimeoutMs: number | null;
  onInterrupt: OnInterrupt | null;
  retry: RetryPolicy | null;
  createdAt: number;
  updatedAt: number;
}

export interface Step {
  key: string;
  position: number | null;
  title: string | null;
  status: StepStatus;
  generation: number;
  attempt: number | null;
  tries: number;
  /** Begun in an attempt that ended without a record: in doubt until done or decided, however often it is begun again (I13). */
  interrupted: boolean;
  onInterrupt: OnInterrupt | null;
  timeoutMs: number | null;
  retry: RetryPolicy | null;
  startedAt: number | null;
  finishedAt: number | null;
  /** The log entry that recorded it done. */
  seq: number | null;
  input: RawJson | null;
  result: RawJson | null;
  error: RawJson | null;
  /** What it waits for, or waited for. */
  wait: Wait | null;
}

/** What is written once, at creation. */
export interface IntentData {
  readonly id: string;
  readonly namespace: string;
  readonly fromAgent: string;
  readonly toAgent: string;
  readonly toAgentAsSent: string;
  readonly intentType: string;
  readonly payload: RawJson;
  readonly metadata: Readonly<Record<string, string>>;
  readonly correlationId: string | null;
  readonly session: string | null;
  /** Whose session it is: the sender's, wherever the agent is. */
  readonly sessionNamespace: string | null;
  readonly parentIntentId: string | null;
  /** The parent's step that it was sent from. */
  readonly parentStep: string | null;
  readonly detached: boolean;
  readonly replyTo: string | null;
  /** Canonical: whose inbox its end appears in. */
  readonly replyToAddress: string | null;
  /** The steps that the server leads it through; null for all others. */
  readonly scenario: RawJson | null;
  readonly retention: RawJson | null;
  readonly traceparent: string | null;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly retryable?: boolean;
  readonly details?: unknown;
}

export interface Outcome {
  readonly status: TerminalStatus;
  readonly code: string | null;
  readonly result: RawJson | null;
  readonly error: Failure | null;
  readonly attempt: number | null;
}

/** What a caller may be while acting on an intent. */
export interface Actor {
  /** Shown in the log: an address, a consumer, `operator`, `server`. */
  readonly name: string;
  readonly operator: boolean;
  /** What is not in here is not there for it. */
  readonly access: Access;
}

export const SERVER: Actor = { name: "server", operator: true, access: EVERYTHING };

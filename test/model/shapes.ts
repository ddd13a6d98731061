// The shapes of the reference model: plain data, what may be done to it, and what is answered. No behaviour.

export type Status =
  | "SUBMITTED"
  | "DELIVERED"
  | "ACKNOWLEDGED"
  | "IN_PROGRESS"
  | "WAITING"
  | "COMPLETED"
  | "FAILED"
  | "CANCELED"
  | "TIMED_OUT";
export type StepStatus = "planned" | "running" | "waiting" | "done" | "failed" | "interrupted" | "superseded";
export type Doubt = "retry" | "fail" | "ask";
export type Json = unknown;

/** What a step waits for, with absolute times. */
export type ModelWait =
  | { kind: "signal"; name: string; timeoutAt: number | null }
  | { kind: "time"; until: number }
  | { kind: "children"; of: number[]; timeoutAt: number | null }
  /** `ends`: the intent is nothing but this task. */
  | { kind: "human"; timeoutAt: number | null; ends: boolean };

/** What is asked for: children by their number in the model, times relative to now. */
export type WaitAsked =
  | { kind: "signal"; name: string; timeoutMs: number | null }
  | { kind: "time"; ms: number }
  | { kind: "children"; of: number[]; timeoutMs: number | null }
  | { kind: "human"; timeoutMs: number | null };

export interface ModelStep {
  key: string;
  declared: boolean;
  status: StepStatus;
  tries: number;
  /** In doubt: ran in an attempt that ended without a record. */
  doubt: boolean;
  attempt: number;
  result: Json;
  /** Its agent said that it began; only then is a failure reported twice known to be the same. */
  began: boolean;
  failedAs: boolean | null;
  /** Failed for good: told again as it is, not waited for again. */
  final: boolean;
  /** Which of its generations this is: each has an idempotency key of its own. */
  generation: number;
  /** How often it was ever worked on, restored or not: tells whether it was begun after an entry of the log. */
  worked: number;
  /** How often in this generation. */
  ran: number;
  wait: ModelWait | null;
  /** The log entry of the signal that its wait took. */
  signal: number | null;
  /** Log entries. */
  begunAt: number;
  doneAt: number;
}

export interface StateEntry {
  version: number;
  /** Undefined once deleted. */
  value: Json;
  deleted: boolean;
}
export type StateOf = Record<string, StateEntry>;

/** What an intent was after an entry of its log. Shared between copies of a model, and never changed. */
export interface Past {
  readonly plan: boolean;
  readonly steps: readonly Readonly<ModelStep>[];
  readonly state: Readonly<StateOf>;
}

export interface LogEntry {
  type: string;
  status: Status | "CREATED";
  attempt: number | null;
  /** What else the entry has to tell. */
  note: string;
}

export interface ModelSignal {
  no: number;
  name: string;
  data: Json;
  takenBy: string | null;
}

export interface Checkpoint {
  name: string;
  seq: number;
  generation: number;
  stepsDone: number;
}

export interface ModelIntent {
  id: string;
  address: string;
  status: Status | "CREATED";
  attempt: number;
  /** Grows with every retry and restore. */
  generation: number;
  /** The consumer with the open attempt. */
  holder: string | null;
  begun: boolean;
  strikes: number;
  retriesUsed: number;
  releases: number;
  paused: boolean;
  priority: number;
  queueAt: number;
  /** A delay: until then nobody gets it. The length of a retry's is the server's choice within bounds. */
  availableAt: number | null;
  chosenDelay: { least: number; most: number } | null;
  deliverAt: number | null;
  deadlineAt: number | null;
  deliveredAt: number;
  plan: boolean;
  steps: ModelStep[];
  /** What a WAITING intent is parked on: a wait, or steps an operator is asked about. */
  parkedOn: string[];
  reason: string | null;
  refusedAttempt: number;
  ending: string | null;
  result: Json;
  error: string | null;
  maxDeliveries: number;
  onInterrupt: Doubt;
  maxRetries: number;
  attemptTimeoutMs: number | null;
  parent: { of: number; step: string | null; detached: boolean } | null;
  /** It is to be canceled for its parent's sake, as soon as the server gets to it. */
  doomed: boolean;
  signals: ModelSignal[];
  checkpoints: Checkpoint[];
  state: StateOf;
  log: LogEntry[];
  past: Past[];
}

export interface ModelConsumer {
  name: string;
  address: string;
  capacity: number;
  explicitAck: boolean;
  incarnation: number;
  /** A stream is open, and the server knows it. */
  open: boolean;
  /** When the grace ends, once the stream has closed; null when nothing can be held any more. */
  leaseUntil: number | null;
}

export interface Model {
  now: number;
  intents: ModelIntent[];
  consumers: ModelConsumer[];
  keys: { key: string; body: string; intent: number; at: number }[];
  /** State of the run's session: shared by all of its intents. */
  shared: StateOf;
}

export interface CreateBody {
  address: string;
  steps: number;
  priority: number;
  maxDeliveries: number;
  onInterrupt: Doubt;
  maxRetries: number;
  ttlMs: number | null;
  delayMs: number | null;
  attemptTimeoutMs: number | null;
  humanTask: boolean;
  parent: { of: number; step: string | null; detached: boolean } | null;
}

export interface StateWrite {
  scope: "own" | "shared";
  key: string;
  /** Null deletes. */
  value: { is: Json } | null;
  ifVersion: number | null;
}

export interface Answer {
  outcome: string;
  comment: string | null;
}

/** What is asked of one intent. */
export type Asked =
  | { op: "start"; i: number; attempt: number; beginNext: boolean }
  | { op: "running"; i: number; attempt: number; key: string }
  | {
      op: "done";
      i: number;
      attempt: number;
      key: string;
      beginNext: boolean;
      result: Json;
      state: StateWrite[];
    }
  | { op: "failed"; i: number; attempt: number; key: string; retryable: boolean }
  | { op: "wait"; i: number; attempt: number; key: string; wait: WaitAsked }
  | { op: "complete"; i: number; attempt: number; result: Json }
  | { op: "fail"; i: number; attempt: number; retryable: boolean }
  | { op: "release"; i: number; attempt: number; notRun: string[] }
  | { op: "cancel" | "pause" | "unpause" | "retry"; i: number }
  | { op: "decide"; i: number; key: string; answer: "done" | "retry" | "fail" }
  | { op: "signal"; i: number; name: string; data: Json }
  | { op: "answer"; i: number; key: string | null; answer: Answer }
  | { op: "write"; i: number; attempt: number | null; writes: StateWrite[] }
  | { op: "checkpoint"; i: number; attempt: number | null; name: string }
  | { op: "forget"; i: number; name: string }
  | { op: "restore"; i: number; to: string | number };

export type Op =
  | { op: "create"; body: CreateBody; parentAttempt: number | null; key: string; id: string }
  | { op: "share"; writes: StateWrite[] }
  | Asked
  | { op: "connect"; c: number; restart: boolean }
  | { op: "cut"; c: number }
  | { op: "clock"; to: number }
  | Own;

/** What the server does by itself. */
export type Own =
  | { op: "deliver"; i: number; consumer: string }
  | { op: "due"; i: number }
  | { op: "told"; i: number }
  | { op: "doomed"; i: number }
  | { op: "expire"; c: number };

/** `ok` and what is told with it, or the code of the refusal. */
export type Verdict = string;

export const GRACE_MS = 2_000;
export const LEASE_MS = 30_000;
export const RETRY_MS = 1_000;

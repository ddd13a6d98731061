// The reference: what Perdure promises, as a small program in memory. It shares no code with the server and is written
// from the documents. One operation at a time, on plain data that can be copied.

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
export type StepStatus = "planned" | "running" | "done" | "failed" | "interrupted";
export type Doubt = "retry" | "fail" | "ask";

export interface ModelStep {
  key: string;
  declared: boolean;
  status: StepStatus;
  tries: number;
  /** In doubt: ran in an attempt that ended without a record. */
  doubt: boolean;
  attempt: number;
  result: unknown;
  /** Its agent said that it began; only then is a failure reported twice known to be the same. */
  began: boolean;
  failedAs: boolean | null;
}

export interface LogEntry {
  type: string;
  status: Status | "CREATED";
  attempt: number | null;
}

export interface ModelIntent {
  id: string;
  address: string;
  status: Status | "CREATED";
  attempt: number;
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
  deadlineAt: number | null;
  deliveredAt: number;
  steps: ModelStep[];
  /** Steps an operator is asked about. */
  asked: string[];
  refusedAttempt: number;
  ending: string | null;
  maxDeliveries: number;
  onInterrupt: Doubt;
  maxRetries: number;
  attemptTimeoutMs: number | null;
  log: LogEntry[];
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
}

export type Op =
  | { op: "create"; body: CreateBody; key: string; id: string }
  | { op: "start"; i: number; attempt: number; beginNext: boolean }
  | { op: "running"; i: number; attempt: number; key: string }
  | { op: "done"; i: number; attempt: number; key: string; beginNext: boolean; result: unknown }
  | { op: "failed"; i: number; attempt: number; key: string; retryable: boolean }
  | { op: "complete"; i: number; attempt: number; result: unknown }
  | { op: "fail"; i: number; attempt: number; retryable: boolean }
  | { op: "release"; i: number; attempt: number; notRun: string[] }
  | { op: "cancel" | "pause" | "unpause" | "retry"; i: number }
  | { op: "decide"; i: number; key: string; answer: "done" | "retry" | "fail" }
  | { op: "connect"; c: number; restart: boolean }
  | { op: "cut"; c: number }
  | { op: "clock"; to: number }
  // What the server does by itself.
  | { op: "deliver"; i: number; consumer: string }
  | { op: "due"; i: number }
  | { op: "expire"; c: number };

/** `ok`, or the code of the refusal. */
export type Verdict = string;

export const GRACE_MS = 2_000;
export const LEASE_MS = 30_000;
const TERMINAL: readonly string[] = ["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"];
export const isOver = (intent: ModelIntent): boolean => TERMINAL.includes(intent.status);

export const newModel = (now: number): Model => ({ now, intents: [], consumers: [], keys: [] });

/** Whether a consumer may take it now. */
export function isWaitingInQueue(intent: ModelIntent): boolean {
  return (
    intent.holder === null &&
    !intent.paused &&
    intent.availableAt === null &&
    intent.status !== "WAITING" &&
    !isOver(intent)
  );
}

export const heldBy = (model: Model, consumer: string): ModelIntent[] =>
  model.intents.filter((intent) => intent.holder === consumer);

export const hasRoom = (model: Model, consumer: ModelConsumer): boolean =>
  consumer.open && heldBy(model, consumer.name).length < consumer.capacity;

/** The queue of an address: strict priority, then the time of arrival, then the id. */
export function queueOf(model: Model, address: string): ModelIntent[] {
  return model.intents
    .filter((intent) => intent.address === address && isWaitingInQueue(intent))
    .sort((a, b) => b.priority - a.priority || a.queueAt - b.queueAt || (a.id < b.id ? -1 : 1));
}

/** What has to be delivered before anything else happens: the queue's head, as long as somebody has room (I7). */
export function owed(model: Model): ModelIntent[] {
  const addresses = [...new Set(model.intents.map((intent) => intent.address))];
  return addresses.flatMap((address) => {
    const room = model.consumers
      .filter((consumer) => consumer.address === address && consumer.open)
      .reduce((sum, consumer) => sum + consumer.capacity - heldBy(model, consumer.name).length, 0);
    return queueOf(model, address).slice(0, Math.max(0, room));
  });
}

/** Applies one operation; a refused one leaves nothing but what the log says of it. */
export function apply(model: Model, op: Op): Verdict {
  switch (op.op) {
    case "create":
      return create(model, op);
    case "connect":
      return connect(model, op);
    case "cut":
      return cut(model, op.c);
    case "clock":
      model.now = op.to;
      return "ok";
    case "expire":
      return expire(model, op.c);
    default: {
      const intent = model.intents[op.i];
      if (intent === undefined) return "not_found";
      return applyToIntent(model, intent, op);
    }
  }
}

type IntentOp = Exclude<Op, { op: "create" | "connect" | "cut" | "clock" | "expire" }>;

function applyToIntent(model: Model, intent: ModelIntent, op: IntentOp): Verdict {
  switch (op.op) {
    case "deliver":
      return deliver(model, intent, op.consumer);
    case "due":
      return due(model, intent);
    case "cancel":
      return cancel(intent);
    case "pause":
      return pause(intent);
    case "unpause":
      return unpause(intent);
    case "retry":
      return retry(model, intent);
    case "decide":
      return decide(intent, op.key, op.answer);
    case "complete":
    case "fail":
      return resolve(model, intent, op);
    case "running":
      if (stepOf(intent, op.key)?.status === "done") return "ok";
      return fenced(intent, op.attempt) ?? begin(intent, op.key);
    case "done":
      return done(intent, op);
    case "start":
      return fenced(intent, op.attempt) ?? start(intent, op.beginNext);
    case "failed":
      return fenced(intent, op.attempt) ?? failed(model, intent, op);
    case "release":
      return fenced(intent, op.attempt) ?? release(model, intent, op.notRun);
  }
}

const log = (intent: ModelIntent, type: string): void => {
  intent.log.push({
    type,
    status: intent.status,
    attempt: intent.attempt === 0 ? null : intent.attempt,
  });
};

const stepOf = (intent: ModelIntent, key: string): ModelStep | undefined =>
  intent.steps.find((step) => step.key === key);
const running = (intent: ModelIntent): ModelStep[] =>
  intent.steps.filter((step) => step.status === "running");
const nextDeclared = (intent: ModelIntent): ModelStep | undefined =>
  intent.steps.find((step) => step.declared && step.status !== "done");

function create(model: Model, op: Extract<Op, { op: "create" }>): Verdict {
  const text = JSON.stringify(op.body);
  const known = model.keys.find((one) => one.key === op.key);
  if (known !== undefined) return known.body === text ? "replayed" : "idempotency_mismatch";
  const { body } = op;
  const delayed = body.delayMs === null ? null : model.now + body.delayMs;
  const intent: ModelIntent = {
    id: op.id,
    address: body.address,
    status: "CREATED",
    attempt: 0,
    holder: null,
    begun: false,
    strikes: 0,
    retriesUsed: 0,
    releases: 0,
    paused: false,
    priority: body.priority,
    queueAt: delayed ?? model.now,
    availableAt: delayed,
    chosenDelay: null,
    deadlineAt: body.ttlMs === null ? null : model.now + body.ttlMs,
    deliveredAt: 0,
    steps: Array.from({ length: body.steps }, (_, n) => newStep(`s${n + 1}`, true)),
    asked: [],
    refusedAttempt: 0,
    ending: null,
    maxDeliveries: body.maxDeliveries,
    onInterrupt: body.onInterrupt,
    maxRetries: body.maxRetries,
    attemptTimeoutMs: body.attemptTimeoutMs,
    log: [],
  };
  log(intent, "created");
  intent.status = "SUBMITTED";
  log(intent, "submitted");
  model.intents.push(intent);
  model.keys.push({ key: op.key, body: text, intent: model.intents.length - 1, at: model.now });
  return "ok";
}

const newStep = (key: string, declared: boolean): ModelStep => ({
  key,
  declared,
  status: "planned",
  tries: 0,
  doubt: false,
  attempt: 0,
  result: null,
  began: false,
  failedAs: null,
});

/** The fence (I4): a write needs the current, open attempt; each stale attempt leaves one trace. */
function fenced(intent: ModelIntent, attempt: number): Verdict | undefined {
  if (attempt === intent.attempt && intent.holder !== null) return undefined;
  if (attempt <= intent.attempt && attempt > intent.refusedAttempt) {
    intent.refusedAttempt = attempt;
    log(intent, "stale_write_refused");
  }
  return "stale_attempt";
}

function deliver(model: Model, intent: ModelIntent, name: string): Verdict {
  const consumer = model.consumers.find((one) => one.name === name);
  if (consumer === undefined || consumer.address !== intent.address || !hasRoom(model, consumer))
    return "no_room";
  if (!isWaitingInQueue(intent)) return "not_claimable";
  if (intent.deadlineAt !== null && intent.deadlineAt <= model.now) return "overdue";
  intent.attempt += 1;
  intent.holder = name;
  intent.begun = false;
  intent.deliveredAt = model.now;
  if (intent.status === "SUBMITTED") intent.status = "DELIVERED";
  log(intent, "delivered");
  if (!consumer.explicitAck) atWork(intent);
  return "ok";
}

function atWork(intent: ModelIntent): void {
  if (intent.status === "IN_PROGRESS") return;
  intent.status = "IN_PROGRESS";
  log(intent, "in_progress");
}

function start(intent: ModelIntent, beginNext: boolean): Verdict {
  if (intent.paused) return "intent_paused";
  const first = !intent.begun;
  atWork(intent);
  intent.begun = true;
  const next = nextDeclared(intent);
  return first && beginNext && next !== undefined ? begin(intent, next.key) : "ok";
}

function begin(intent: ModelIntent, key: string): Verdict {
  if (intent.paused) return "intent_paused";
  let step = stepOf(intent, key);
  if (step === undefined) {
    step = newStep(key, false);
    intent.steps.push(step);
  }
  if (step.status === "running" || step.status === "done") return "ok";
  atWork(intent);
  intent.begun = true;
  step.status = "running";
  step.tries += 1;
  step.attempt = intent.attempt;
  step.began = true;
  log(intent, "step_running");
  return "ok";
}

function done(intent: ModelIntent, op: Extract<Op, { op: "done" }>): Verdict {
  // The first result wins, from any attempt.
  if (stepOf(intent, op.key)?.status === "done") return beginFollowing(intent, op);
  const refused = fenced(intent, op.attempt);
  if (refused !== undefined) return refused;
  const step = recorded(intent, op.key);
  markDone(intent, step, op.result);
  if (step.declared && nextDeclared(intent) === undefined)
    end(intent, "COMPLETED", `done ${op.attempt} ${JSON.stringify(op.result)}`);
  else handBackIfPaused(intent);
  return beginFollowing(intent, op);
}

/** Record one step and begin the next in one call: not once the attempt is over, or the intent paused (I16). */
function beginFollowing(intent: ModelIntent, op: Extract<Op, { op: "done" }>): Verdict {
  if (!op.beginNext || intent.holder === null || intent.paused || op.attempt !== intent.attempt) return "ok";
  const next = nextDeclared(intent);
  return next === undefined ? "ok" : begin(intent, next.key);
}

/** The step to be recorded; one that was never begun ran all the same. */
function recorded(intent: ModelIntent, key: string): ModelStep {
  let step = stepOf(intent, key);
  if (step === undefined) {
    step = newStep(key, false);
    intent.steps.push(step);
  }
  if (step.status !== "running") step.tries += 1;
  step.attempt = intent.attempt;
  return step;
}

function markDone(intent: ModelIntent, step: ModelStep, result: unknown): void {
  step.status = "done";
  step.doubt = false;
  step.result = result;
  progress(intent);
  log(intent, "step_done");
}

function progress(intent: ModelIntent): void {
  intent.strikes = 0;
  intent.retriesUsed = 0;
  intent.releases = 0;
}

function failed(model: Model, intent: ModelIntent, op: Extract<Op, { op: "failed" }>): Verdict {
  const known = stepOf(intent, op.key);
  if (known?.status === "done") return "step_done";
  // The answer to the first report got lost.
  if (
    known?.status === "failed" &&
    known.began &&
    known.attempt === intent.attempt &&
    known.failedAs === op.retryable
  )
    return "ok";
  const step = recorded(intent, op.key);
  const retries = op.retryable && intent.retriesUsed < intent.maxRetries;
  step.status = "failed";
  step.failedAs = op.retryable;
  log(intent, "step_failed");
  if (!step.declared) handBackIfPaused(intent);
  else if (retries) scheduleRetry(model, intent);
  else end(intent, "FAILED", null);
  return "ok";
}

function resolve(model: Model, intent: ModelIntent, op: Extract<Op, { op: "complete" | "fail" }>): Verdict {
  const ending =
    op.op === "complete" ? `done ${op.attempt} ${JSON.stringify(op.result)}` : `failed ${op.attempt}`;
  if (isOver(intent)) {
    if (intent.ending === ending && op.attempt === intent.attempt) return "ok";
    if (op.attempt < intent.attempt) return fenced(intent, op.attempt) ?? "ok";
    return "already_finished";
  }
  const refused = fenced(intent, op.attempt);
  if (refused !== undefined) return refused;
  atWork(intent);
  if (op.op === "fail" && op.retryable && intent.retriesUsed < intent.maxRetries)
    scheduleRetry(model, intent);
  else end(intent, op.op === "complete" ? "COMPLETED" : "FAILED", ending);
  return "ok";
}

export const RETRY_MS = 1_000;

function scheduleRetry(model: Model, intent: ModelIntent): void {
  intent.retriesUsed += 1;
  // Exponential with jitter: between the half and the whole.
  const whole = RETRY_MS * 2 ** (intent.retriesUsed - 1);
  intent.chosenDelay = { least: model.now + whole / 2, most: model.now + whole };
  intent.availableAt = model.now + whole;
  log(intent, "retry_scheduled");
  settleDoubt(intent, closeAttempt(intent, []));
}

function release(model: Model, intent: ModelIntent, notRun: string[]): Verdict {
  intent.releases += 1;
  // The first is free, then a growing delay stops a hot loop (D8).
  if (intent.releases > 1) intent.availableAt = model.now + Math.min(30_000, 100 * 2 ** intent.releases);
  log(intent, "released");
  settleDoubt(intent, closeAttempt(intent, notRun));
  return "ok";
}

/** Ends the open attempt: what runs is in doubt from here on (S2), but for steps that never really ran. */
function closeAttempt(intent: ModelIntent, notRun: string[]): ModelStep[] {
  const interrupted: ModelStep[] = [];
  for (const step of running(intent)) {
    if (notRun.includes(step.key)) {
      step.tries -= 1;
      step.began = false;
      step.status = step.doubt ? "interrupted" : "planned";
      continue;
    }
    step.status = "interrupted";
    step.doubt = true;
    interrupted.push(step);
  }
  intent.holder = null;
  intent.begun = false;
  for (const _ of interrupted) log(intent, "step_interrupted");
  return interrupted;
}

/** True when the intent goes on by itself. */
function settleDoubt(intent: ModelIntent, interrupted: ModelStep[]): boolean {
  if (interrupted.length === 0 || intent.onInterrupt === "retry") return true;
  if (intent.onInterrupt === "fail") {
    end(intent, "FAILED", null);
    return false;
  }
  intent.status = "WAITING";
  intent.asked = interrupted.map((step) => step.key);
  log(intent, "waiting");
  return false;
}

export function lose(intent: ModelIntent): void {
  intent.strikes += 1;
  log(intent, "lost");
  const interrupted = closeAttempt(intent, []);
  if (intent.strikes >= intent.maxDeliveries) {
    log(intent, "delivery_failed");
    end(intent, "FAILED", null);
  } else if (settleDoubt(intent, interrupted)) log(intent, "redelivery_scheduled");
}

function end(intent: ModelIntent, status: Status, ending: string | null): void {
  if (intent.holder !== null) closeAttempt(intent, []);
  intent.status = status;
  intent.asked = [];
  intent.availableAt = null;
  intent.chosenDelay = null;
  intent.ending = ending;
  log(intent, status.toLowerCase());
}

function cancel(intent: ModelIntent): Verdict {
  if (intent.status === "CANCELED") return "ok";
  if (isOver(intent)) return "intent_terminal";
  end(intent, "CANCELED", null);
  return "ok";
}

function pause(intent: ModelIntent): Verdict {
  if (isOver(intent)) return "intent_terminal";
  if (intent.paused) return "ok";
  intent.paused = true;
  log(intent, "paused");
  handBackIfPaused(intent);
  return "ok";
}

function unpause(intent: ModelIntent): Verdict {
  if (!intent.paused) return "ok";
  intent.paused = false;
  log(intent, "unpaused");
  return "ok";
}

/** S5: between two steps the server takes a paused intent back itself; one without steps just finishes. */
function handBackIfPaused(intent: ModelIntent): void {
  if (!intent.paused || intent.holder === null || intent.steps.length === 0 || running(intent).length > 0)
    return;
  log(intent, "released");
  closeAttempt(intent, []);
}

function retry(model: Model, intent: ModelIntent): Verdict {
  if (!["FAILED", "CANCELED", "TIMED_OUT"].includes(intent.status)) return "not_retryable";
  intent.status = "SUBMITTED";
  progress(intent);
  intent.ending = null;
  intent.queueAt = model.now;
  if (intent.deadlineAt !== null && intent.deadlineAt <= model.now) intent.deadlineAt = null;
  for (const step of intent.steps) if (step.status === "failed") step.status = "planned";
  log(intent, "retried");
  return "ok";
}

function decide(intent: ModelIntent, key: string, answer: "done" | "retry" | "fail"): Verdict {
  if (isOver(intent)) return "intent_terminal";
  const step = stepOf(intent, key);
  if (step === undefined) return "step_not_found";
  if (step.status === "done" && answer === "done" && step.result === "decided") return "ok";
  if (step.status !== "interrupted" || intent.holder !== null) return "step_not_in_doubt";
  log(intent, "step_decided");
  progress(intent);
  if (answer === "fail") {
    step.status = "failed";
    end(intent, "FAILED", null);
    return "ok";
  }
  if (answer === "done") markDone(intent, step, "decided");
  else {
    step.status = "planned";
    step.doubt = false;
  }
  intent.asked = intent.asked.filter((one) => one !== key);
  if (intent.status === "WAITING" && intent.asked.length === 0) {
    intent.status = "IN_PROGRESS";
    log(intent, "resumed");
  }
  if (intent.status !== "WAITING" && step.declared && nextDeclared(intent) === undefined)
    end(intent, "COMPLETED", null);
  return "ok";
}

/** Everything that is due by the clock. */
function due(model: Model, intent: ModelIntent): Verdict {
  if (isOver(intent)) return "nothing";
  if (intent.deadlineAt !== null && intent.deadlineAt <= model.now) end(intent, "TIMED_OUT", null);
  else if (attemptTimedOut(model, intent)) lose(intent);
  else if (intent.availableAt !== null && intent.availableAt <= model.now) {
    intent.availableAt = null;
    intent.chosenDelay = null;
  } else return "nothing";
  return "ok";
}

function attemptTimedOut(model: Model, intent: ModelIntent): boolean {
  if (intent.holder === null || intent.attemptTimeoutMs === null) return false;
  return intent.deliveredAt + intent.attemptTimeoutMs <= model.now;
}

export function isDue(model: Model, intent: ModelIntent): boolean {
  if (isOver(intent)) return false;
  const times = [intent.deadlineAt, intent.availableAt];
  return times.some((at) => at !== null && at <= model.now) || attemptTimedOut(model, intent);
}

/** The same incarnation comes back to what it holds; another one proves the old process dead (D5). */
function connect(model: Model, op: Extract<Op, { op: "connect" }>): Verdict {
  const consumer = model.consumers[op.c] as ModelConsumer;
  const over = consumer.leaseUntil === null || consumer.leaseUntil <= model.now;
  if (op.restart) consumer.incarnation += 1;
  if (op.restart || over) for (const intent of heldInOrder(model, consumer)) lose(intent);
  consumer.open = true;
  consumer.leaseUntil = model.now + LEASE_MS;
  return "ok";
}

function cut(model: Model, c: number): Verdict {
  const consumer = model.consumers[c] as ModelConsumer;
  consumer.open = false;
  consumer.leaseUntil = Math.min(consumer.leaseUntil ?? 0, model.now + GRACE_MS);
  return "ok";
}

function expire(model: Model, c: number): Verdict {
  const consumer = model.consumers[c] as ModelConsumer;
  if (consumer.open || consumer.leaseUntil === null || consumer.leaseUntil > model.now) return "nothing";
  for (const intent of heldInOrder(model, consumer)) lose(intent);
  consumer.leaseUntil = null;
  return "ok";
}

const heldInOrder = (model: Model, consumer: ModelConsumer): ModelIntent[] =>
  heldBy(model, consumer.name).sort((a, b) => (a.id < b.id ? -1 : 1));

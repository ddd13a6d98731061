// What must hold of one intent's log by itself: a witness written from the invariants (DESIGN.md's I1 to I16), which knows
// nothing of how the server decides. Events are named without their `intent.`.

export interface LogEvent {
  readonly seq: number;
  readonly type: string;
  readonly status: string;
  readonly attempt: number | null;
  // biome-ignore lint/suspicious/noExplicitAny: an event's details are its own
  readonly details: Record<string, any> | null;
}

/** An intent with its log, as it is stored. */
export interface Logged {
  readonly id: string;
  readonly status: string;
  readonly attempt: number;
  readonly lostDeliveries: number;
  readonly maxDeliveryAttempts: number;
  readonly events: readonly LogEvent[];
  readonly steps: readonly { readonly key: string; readonly status: string; readonly result: unknown }[];
}

export interface Violation {
  readonly invariant: string;
  readonly intentId: string | null;
  readonly message: string;
}

const TERMINAL = new Set(["completed", "failed", "canceled", "timed_out"]);
const REOPENS = new Set(["retried", "restored"]);
/** What ends an attempt. */
const ENDS = new Set(["lost", "released", "retry_scheduled", "waiting", "restored", ...TERMINAL]);
/** What only an open attempt may write. */
const OF_AN_ATTEMPT = new Set(["acknowledged", "in_progress", "step_running", "step_failed", "progress"]);

/** Walks the log once, with what is known so far. */
interface Walk {
  readonly intent: Logged;
  readonly violations: Violation[];
  attempt: number;
  open: boolean;
  ended: string | null;
  paused: boolean;
  strikes: number;
  readonly done: Set<string>;
  readonly running: Set<string>;
  /** Steps that somebody else finishes. */
  readonly waiting: Set<string>;
  /** Signals that no wait has taken, by number. */
  unread: Map<number, string>;
}

export function judgeLog(intent: Logged): Violation[] {
  const walk: Walk = {
    intent,
    violations: [],
    attempt: 0,
    open: false,
    ended: null,
    paused: false,
    strikes: 0,
    done: new Set(),
    running: new Set(),
    waiting: new Set(),
    unread: new Map(),
  };
  intent.events.forEach((event, index) => {
    if (event.seq !== index + 1) violate(walk, "I2", `event ${index + 1} has seq ${event.seq}`);
    judgeEnd(walk, event);
    judgeAttempt(walk, event);
    judgeSignals(walk, event);
    judgeSteps(walk, event);
    judgeStrikes(walk, event, intent.events[index + 1]);
  });
  judgeLast(walk);
  return walk.violations;
}

const violate = (walk: Walk, invariant: string, message: string): void => {
  walk.violations.push({ invariant, intentId: walk.intent.id, message });
};

function judgeEnd(walk: Walk, event: LogEvent): void {
  if (TERMINAL.has(event.type)) {
    if (walk.ended !== null)
      violate(walk, "I3", `${event.type} at ${event.seq} after it had ended as ${walk.ended}`);
    walk.ended = event.type;
  } else if (REOPENS.has(event.type)) walk.ended = null;
  else if (walk.ended !== null && event.status.toLowerCase() !== walk.ended)
    violate(walk, "I3", `${event.type} at ${event.seq} left ${walk.ended} without an operator`);
}

function judgeAttempt(walk: Walk, event: LogEvent): void {
  const attempt = event.attempt ?? 0;
  if (attempt < walk.attempt)
    violate(walk, "I4", `the attempt fell from ${walk.attempt} to ${attempt} at ${event.seq}`);
  if (event.type === "delivered") {
    if (walk.open)
      violate(walk, "I6", `attempt ${attempt} was delivered at ${event.seq} while ${walk.attempt} was open`);
    if (attempt !== walk.attempt + 1)
      violate(walk, "I4", `attempt ${attempt} follows ${walk.attempt} at ${event.seq}`);
    if (walk.paused) violate(walk, "I7", `it was delivered at ${event.seq} while it was paused`);
    walk.open = true;
  } else if (OF_AN_ATTEMPT.has(event.type) && !walk.open && !isWaitOver(walk, event))
    violate(walk, "I4", `${event.type} at ${event.seq} belongs to no open attempt`);
  else if (ENDS.has(event.type)) {
    if (event.type === "lost" && !walk.open)
      violate(
        walk,
        "I12",
        `attempt ${attempt} was counted as lost at ${event.seq} although it had ended otherwise`,
      );
    walk.open = false;
  }
  walk.attempt = Math.max(walk.attempt, attempt);
}

/** A wait that nobody ended in time fails without its agent. */
const isWaitOver = (walk: Walk, { type, details }: LogEvent): boolean =>
  type === "step_failed" && walk.waiting.has(String(details?.key));

/** Every signal is taken once or is still there, and nobody waits for one that is there (I14). */
function judgeSignals(walk: Walk, { type, seq, details }: LogEvent): void {
  if (type === "signaled") walk.unread.set(seq, String(details?.name));
  else if (type === "step_waiting") {
    const name = details?.wait?.signal;
    if (name !== undefined && [...walk.unread.values()].includes(name))
      violate(walk, "I14", `step ${details?.key} waits at ${seq} for signal ${name}, which is there`);
  } else if (type === "step_done" && details?.signal != null) {
    if (!walk.unread.delete(Number(details.signal)))
      violate(
        walk,
        "I14",
        `step ${details.key} took signal ${details.signal} at ${seq}, which was not there`,
      );
  } else if (type === "restored") {
    const taken = new Set(takenBy(walk.intent.events, Number(details?.to)).values());
    const all = walk.intent.events.filter((event) => event.type === "signaled" && event.seq < seq);
    walk.unread = new Map(
      all.filter((event) => !taken.has(event.seq)).map((event) => [event.seq, String(event.details?.name)]),
    );
  }
}

/** Which step had taken which signal after an entry of the log. */
function takenBy(events: readonly LogEvent[], to: number): Map<string, number> {
  let taken = new Map<string, number>();
  for (const { seq, type, details } of events) {
    if (seq > to) break;
    if (type === "restored") taken = takenBy(events, Number(details?.to));
    if (type === "step_done" && details?.signal != null)
      taken.set(String(details.key), Number(details.signal));
  }
  return taken;
}

function judgeSteps(walk: Walk, event: LogEvent): void {
  const key = String(event.details?.key);
  switch (event.type) {
    case "step_running":
      if (walk.done.has(key))
        violate(walk, "I5", `step ${key} was begun at ${event.seq} although it was done`);
      if (walk.paused)
        violate(walk, "I16", `step ${key} was begun at ${event.seq} while the intent was paused`);
      walk.running.add(key);
      break;
    case "step_done":
      if (walk.done.has(key)) violate(walk, "I5", `step ${key} was done a second time at ${event.seq}`);
      walk.done.add(key);
      walk.running.delete(key);
      walk.waiting.delete(key);
      break;
    case "step_waiting":
      walk.running.delete(key);
      walk.waiting.add(key);
      break;
    case "released":
      // Un-begun: its agent says that it never ran.
      for (const unbegun of event.details?.not_run ?? []) walk.running.delete(unbegun);
      break;
    case "step_failed":
    case "step_interrupted":
      walk.running.delete(key);
      walk.waiting.delete(key);
      break;
    case "delivered":
      for (const left of walk.running)
        violate(walk, "I13", `step ${left} ran in an attempt that ended without a word about it`);
      walk.running.clear();
      break;
    case "paused":
      walk.paused = true;
      break;
    case "unpaused":
      walk.paused = (event.details?.paused_by ?? []).length > 0;
      break;
    case "restored":
      walk.done.clear();
      walk.waiting.clear();
      for (const kept of event.details?.kept ?? []) walk.done.add(kept);
      break;
    default:
  }
}

/** How many losses it was allowed then: a policy may have changed it since. */
function maxAt({ events, maxDeliveryAttempts }: Logged, seq: number): number {
  const later = events.find(
    (event) =>
      event.seq > seq && event.type === "policy_changed" && event.details?.max_delivery_attempts != null,
  );
  return later?.details?.max_delivery_attempts.from ?? maxDeliveryAttempts;
}

function judgeStrikes(walk: Walk, event: LogEvent, next: LogEvent | undefined): void {
  if (event.type === "lost") walk.strikes += 1;
  if (event.type === "step_done" || event.type === "step_decided" || REOPENS.has(event.type))
    walk.strikes = 0;
  if (event.type !== "lost" || walk.strikes < maxAt(walk.intent, event.seq)) return;
  const rest = walk.intent.events.slice(event.seq).map((one) => one.type);
  const first = rest.find((type) => type !== "step_interrupted");
  if (first !== "delivery_failed")
    violate(
      walk,
      "I8",
      `${walk.strikes} losses at ${event.seq}, followed by ${next?.type ?? "nothing"} instead of the end`,
    );
}

function judgeLast(walk: Walk): void {
  const { intent } = walk;
  const last = intent.events.at(-1);
  if (last === undefined) {
    violate(walk, "I2", "it has no log");
    return;
  }
  if (last.status !== intent.status)
    violate(walk, "I2", `the row says ${intent.status}, the log ${last.status}`);
  if (walk.attempt !== intent.attempt)
    violate(walk, "I4", `the row says attempt ${intent.attempt}, the log ${walk.attempt}`);
  if (walk.strikes !== intent.lostDeliveries)
    violate(walk, "I8", `the row counts ${intent.lostDeliveries} losses, the log ${walk.strikes}`);
  for (const step of intent.steps) {
    const recorded = intent.events.some(
      (event) =>
        event.type === "step_done" &&
        event.details?.key === step.key &&
        JSON.stringify(event.details?.result) === JSON.stringify(step.result),
    );
    if (step.status === "done" && !recorded)
      violate(walk, "I5", `step ${step.key} has another result than the log recorded`);
    if ((step.status === "done") !== walk.done.has(step.key))
      violate(
        walk,
        "I5",
        `step ${step.key} is ${step.status}, the log says ${walk.done.has(step.key) ? "done" : "otherwise"}`,
      );
  }
}

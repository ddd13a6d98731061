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
  };
  intent.events.forEach((event, index) => {
    if (event.seq !== index + 1) violate(walk, "I2", `event ${index + 1} has seq ${event.seq}`);
    judgeEnd(walk, event);
    judgeAttempt(walk, event);
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
  } else if (OF_AN_ATTEMPT.has(event.type) && !walk.open)
    violate(walk, "I4", `${event.type} at ${event.seq} belongs to no open attempt`);
  else if (ENDS.has(event.type)) walk.open = false;
  walk.attempt = Math.max(walk.attempt, attempt);
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
      break;
    case "released":
      // Un-begun: its agent says that it never ran.
      for (const unbegun of event.details?.not_run ?? []) walk.running.delete(unbegun);
      break;
    case "step_failed":
    case "step_interrupted":
      walk.running.delete(key);
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
      walk.paused = false;
      break;
    case "restored":
      walk.done.clear();
      break;
    default:
  }
}

function judgeStrikes(walk: Walk, event: LogEvent, next: LogEvent | undefined): void {
  if (event.type === "lost") walk.strikes += 1;
  if (event.type === "step_done" || event.type === "step_decided" || REOPENS.has(event.type))
    walk.strikes = 0;
  if (event.type !== "lost" || walk.strikes < walk.intent.maxDeliveryAttempts) return;
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
    const recorded = intent.events.find(
      (event) => event.type === "step_done" && event.details?.key === step.key,
    );
    if (step.status === "done" && JSON.stringify(recorded?.details?.result) !== JSON.stringify(step.result))
      violate(walk, "I5", `step ${step.key} has another result than the log recorded`);
    if (
      (step.status === "done") !== (recorded !== undefined) &&
      !intent.events.some((event) => event.type === "restored")
    )
      violate(
        walk,
        "I5",
        `step ${step.key} is ${step.status}, the log says ${recorded === undefined ? "otherwise" : "done"}`,
      );
  }
}

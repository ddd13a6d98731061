// Judges one stored intent: its row, its log, its steps and the rows derived from it, and whether all of them tell the
// same story. A witness: written from DESIGN.md's invariants, and blind to the code that decides. Times are epoch ms.

import { judgeLog, type LogEvent, type Violation } from "./log-rules.ts";
import { judgeRows } from "./row-rules.ts";

export type { Violation };

export interface StoredStep {
  readonly key: string;
  /** Null for a step that is not of the plan. */
  readonly position: number | null;
  readonly status: string;
  readonly attempt: number | null;
  readonly interrupted: boolean;
  /** The log entry that recorded it done. */
  readonly seq: number | null;
  readonly startedAt: number | null;
  readonly timeoutMs: number | null;
  /** The recorded text, or a digest of it: compared, character by character, with `details.result` of its event. */
  readonly result: string | null;
}

export interface StoredIntent {
  readonly id: string;
  readonly toAgent: string;
  readonly intentType: string;
  readonly status: string;
  readonly seq: number;
  readonly firstSeq: number;
  readonly attempt: number;
  readonly consumerId: string | null;
  readonly deliveredAt: number | null;
  readonly strikes: number;
  readonly maxDeliveryAttempts: number;
  readonly priority: number;
  readonly queueAt: number;
  readonly availableAt: number | null;
  readonly deadlineAt: number | null;
  readonly attemptTimeoutMs: number | null;
  readonly stepDeadline: number | null;
  /** When something that it waits for changes by itself. */
  readonly wakeAt: number | null;
  readonly paused: boolean;
  /** Led by the server, and handed to no agent. */
  readonly conducted: boolean;
  readonly createdAt: number;
  readonly planCursor: number;
  readonly stepsCount: number;
  readonly stepsTotal: number;
  readonly stepsDone: number;
  readonly openSteps: readonly string[];
  /** The status that its outcome row has. */
  readonly outcome: string | null;
  readonly lease: { readonly consumerId: string; readonly attempt: number } | null;
  /** Its entries in the queue: one at most, if all is well. */
  readonly queue: readonly {
    readonly toAgent: string;
    readonly rank: number;
    readonly queueAt: number;
    readonly intentType: string;
  }[];
  readonly timerDueAt: number | null;
  /** Whether it stands among those that have not ended. */
  readonly live: boolean;
  /** In the order of seq. Of details, what the rules look at is enough. */
  readonly events: readonly LogEvent[];
  readonly steps: readonly StoredStep[];
}

const TERMINAL = new Set(["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"]);
/** Written by the attempt that they end; nothing of an ended one may follow. */
const ENDS_OF_AN_ATTEMPT = new Set(["lost", "released", "retry_scheduled"]);
const ENDS = new Set([
  ...ENDS_OF_AN_ATTEMPT,
  "waiting",
  "restored",
  ...[...TERMINAL].map((status) => status.toLowerCase()),
]);

type Say = (invariant: string, message: string) => void;

export function checkStored(stored: StoredIntent): Violation[] {
  const found: Violation[] = [];
  const say: Say = (invariant, message) => found.push({ invariant, intentId: stored.id, message });
  // A log whose beginning retention removed cannot be told from its start: what is left must still be whole.
  if (stored.firstSeq === 1) {
    found.push(...judgeLog({ ...stored, lostDeliveries: stored.strikes }));
    compareWithLog(stored, readLog(stored.events, say), say);
  } else checkRetained(stored, say);
  checkLastEvent(stored, say);
  found.push(...judgeRows(asRows(stored)));
  checkOpenSteps(stored, say);
  checkPlan(stored, say);
  return found;
}

function checkRetained({ events, firstSeq, status }: StoredIntent, say: Say): void {
  events.forEach(({ seq }, index) => {
    if (seq !== firstSeq + index) say("I2", `event ${firstSeq + index} has seq ${seq}`);
  });
  const last = events.at(-1);
  if (last === undefined) say("I2", "it has no log");
  else if (last.status !== status) say("I2", `the row says ${status}, the log ${last.status}`);
}

function checkLastEvent({ events, seq }: StoredIntent, say: Say): void {
  const last = events.at(-1);
  if (last !== undefined && last.seq !== seq)
    say("I2", `the row says that its log ends at ${seq}, the log at ${last.seq}`);
}

/** What the whole log says of the end. */
interface Story {
  attempt: number;
  open: boolean;
  holder: unknown;
  paused: boolean;
  restored: boolean;
  /** Begun, and nothing recorded yet. */
  readonly running: Set<string>;
  readonly waiting: Set<string>;
  /** Begun in an attempt that ended without a record: in doubt until done or decided, however often it is begun again. */
  readonly inDoubt: Set<string>;
  readonly doneAt: Map<string, number>;
}

function readLog(events: readonly LogEvent[], say: Say): Story {
  const story: Story = {
    attempt: 0,
    open: false,
    holder: null,
    paused: false,
    restored: false,
    running: new Set(),
    waiting: new Set(),
    inDoubt: new Set(),
    doneAt: new Map(),
  };
  events.forEach((event, index) => {
    readAttempt(story, event, events[index - 1], say);
    readStep(story, event, say);
    readCap(event, events[index + 1], say);
    if (event.type === "paused") story.paused = true;
    if (event.type === "unpaused") story.paused = (event.details?.paused_by ?? []).length > 0;
  });
  return story;
}

function readAttempt(story: Story, event: LogEvent, before: LogEvent | undefined, say: Say): void {
  const attempt = event.attempt ?? 0;
  if (event.type === "delivered") {
    story.open = true;
    story.holder = event.details?.consumer_id;
    // Whatever still ran is a violation that the log's own rules tell.
    story.running.clear();
  } else if (attempt > story.attempt && event.details?.attempts_left_out == null)
    say("I4", `${event.type} at ${event.seq} is of attempt ${attempt}, which was never delivered`);
  if (!story.open && needsAttempt(story, event, before))
    say("I4", `${event.type} at ${event.seq} belongs to no open attempt`);
  if (ENDS.has(event.type)) story.open = false;
  story.attempt = Math.max(story.attempt, attempt);
}

/** A result comes from the open attempt, from whoever decided over a step in doubt, or from what a step waited for. */
function needsAttempt(
  { waiting }: Story,
  { type, details }: LogEvent,
  before: LogEvent | undefined,
): boolean {
  if (type !== "step_done") return ENDS_OF_AN_ATTEMPT.has(type);
  if (waiting.has(String(details?.key))) return false;
  return before?.type !== "step_decided" || before.details?.key !== details?.key;
}

function readStep(story: Story, { type, seq, details }: LogEvent, say: Say): void {
  const { running, inDoubt, doneAt } = story;
  const key = String(details?.key);
  switch (type) {
    case "step_running":
      if (running.has(key)) say("I13", `step ${key} was begun at ${seq} while it was running`);
      if (inDoubt.has(key) && details?.interrupted !== true)
        say("I13", `step ${key} was interrupted, and handed out at ${seq} as if it had never run`);
      running.add(key);
      break;
    case "step_interrupted":
      if (!running.delete(key)) say("I13", `step ${key} was interrupted at ${seq} and had not been running`);
      inDoubt.add(key);
      break;
    case "step_waiting":
      running.delete(key);
      story.waiting.add(key);
      break;
    case "step_done":
      running.delete(key);
      story.waiting.delete(key);
      inDoubt.delete(key);
      doneAt.set(key, seq);
      break;
    case "step_failed":
      running.delete(key);
      break;
    case "step_decided":
      // Whoever failed the step has not said what became of it.
      if (details?.decision !== "fail") inDoubt.delete(key);
      break;
    case "released":
      for (const unbegun of details?.not_run ?? []) running.delete(unbegun);
      break;
    case "restored":
      story.restored = true;
      story.waiting.clear();
      inDoubt.clear();
      for (const doubted of details?.in_doubt ?? []) inDoubt.add(doubted);
      break;
    default:
  }
}

function readCap({ type, seq }: LogEvent, next: LogEvent | undefined, say: Say): void {
  if (type !== "delivery_failed") return;
  if (next?.type !== "failed" || next.details?.error?.code !== "delivery_attempts_exhausted")
    say("I8", `the deliveries were used up at ${seq}, and it did not fail of that`);
}

function compareWithLog(stored: StoredIntent, story: Story, say: Say): void {
  const held = stored.consumerId !== null;
  if (held !== story.open)
    say("I6", `the row has ${held ? "an" : "no"} owner, and the log an attempt that ${state(story.open)}`);
  else if (held && stored.consumerId !== story.holder)
    say("I6", `the row's owner is ${stored.consumerId}, the log delivered it to ${story.holder}`);
  if (stored.paused !== story.paused)
    say("I16", `the row is ${stored.paused ? "" : "not "}paused, the log says otherwise`);
  if (!story.open)
    for (const key of story.running)
      say("I13", `step ${key} ran in an attempt that ended without a word about it`);
  // What a restore leaves of each step is not in the log's own words.
  if (!story.restored) for (const step of stored.steps) compareStep(step, story, say);
}

const state = (open: boolean): string => (open ? "is open" : "has ended");

function compareStep({ key, status, interrupted, seq }: StoredStep, story: Story, say: Say): void {
  if ((status === "running") !== story.running.has(key))
    say(
      "I13",
      `step ${key} is ${status}, and the log says that it ${story.running.has(key) ? "" : "no longer "}runs`,
    );
  if (interrupted !== story.inDoubt.has(key))
    say("I13", `step ${key} is ${interrupted ? "" : "not "}in doubt, the log says otherwise`);
  const doneAt = story.doneAt.get(key);
  if (status === "done" && doneAt !== undefined && seq !== doneAt)
    say("I5", `step ${key} says that it was done at ${seq}, the log at ${doneAt}`);
}

/** The rows as row-rules.ts compares them. */
function asRows(stored: StoredIntent): Parameters<typeof judgeRows>[0] {
  const { consumerId, attempt, lease, queue } = stored;
  return {
    ...stored,
    held: consumerId !== null,
    delayed: stored.availableAt !== null,
    lease: lease === null ? null : lease.consumerId === consumerId && lease.attempt === attempt,
    queueEntry: queue.length === 0 ? null : queue.length === 1 && queue.every((one) => isOf(one, stored)),
    live: stored.live,
    timerFits: stored.timerDueAt === nextInstant(stored),
    steps: stored.steps.map((step) => ({ ...step, declared: step.position !== null })),
  };
}

const isOf = (entry: StoredIntent["queue"][number], stored: StoredIntent): boolean =>
  entry.toAgent === stored.toAgent &&
  entry.rank + stored.priority === 0 &&
  entry.queueAt === stored.queueAt &&
  entry.intentType === stored.intentType;

const earliest = (times: readonly (number | null)[]): number | null => {
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? null : Math.min(...known);
};

const after = (start: number | null, ms: number | null): number | null =>
  start === null || ms === null ? null : start + ms;

/** Nobody holds it, and nothing holds it back. */
const isFree = ({ status, consumerId, paused, availableAt }: StoredIntent): boolean =>
  consumerId === null && !paused && availableAt === null && status !== "WAITING" && status !== "CREATED";

/** When the intent changes without anybody asking. */
function nextInstant(stored: StoredIntent): number | null {
  if (TERMINAL.has(stored.status)) return null;
  const { deadlineAt, availableAt, stepDeadline } = stored;
  const wakeAt = stored.status === "WAITING" ? stored.wakeAt : null;
  const ofAttempt =
    stored.consumerId === null ? [] : [after(stored.deliveredAt, stored.attemptTimeoutMs), stepDeadline];
  const conductAt = stored.conducted && isFree(stored) ? stored.createdAt : null;
  return earliest([deadlineAt, availableAt, wakeAt, conductAt, ...ofAttempt]);
}

/** Open are the running steps of the open attempt, or those whose answer a waiting intent waits for; else none. */
function checkOpenSteps(stored: StoredIntent, say: Say): void {
  const { status, consumerId, openSteps, stepDeadline } = stored;
  const steps = new Map(stored.steps.map((step) => [step.key, step]));
  const running = stored.steps.filter((step) => step.status === "running");
  const mayBe = new Set(
    consumerId !== null ? ["running"] : status === "WAITING" ? ["interrupted", "waiting"] : [],
  );
  for (const key of openSteps) {
    const is = steps.get(key)?.status ?? "missing";
    if (!mayBe.has(is)) say("I13", `step ${key} is among the open ones, and it is ${is}`);
  }
  const due = earliest(running.map((step) => after(step.startedAt, step.timeoutMs)));
  if (consumerId !== null && stepDeadline !== due)
    say("I7", "its step deadline is not that of the running step that is due first");
}

/** The counters by which the next step is found: a wrong one hands a step out again, or never. */
function checkPlan(stored: StoredIntent, say: Say): void {
  const { steps, stepsCount, stepsTotal, planCursor } = stored;
  const declared = steps.filter((step) => step.position !== null);
  if (stepsCount !== steps.length)
    say("I5", `${stepsCount} steps are counted, and ${steps.length} are there`);
  if (stepsTotal !== declared.length)
    say("I5", `its plan has ${stepsTotal} steps, and ${declared.length} are there`);
  for (const { key, position, status } of declared)
    if (position !== null && position < planCursor && status !== "done")
      say("I5", `step ${key} is ${status}, and the plan has gone past it`);
}

// The rules by themselves, on stories written by hand: true ones pass, and each lie is told by its invariant.
import { expect, test } from "vitest";
import type { LogEvent } from "../../server/verify/log-rules.ts";
import { checkStored, type StoredIntent, type StoredStep } from "../../server/verify/rules.ts";

type Entry = Omit<LogEvent, "seq">;
type Lie = (story: StoredIntent) => StoredIntent;

const entry = (
  type: string,
  status: string,
  attempt: number | null,
  details: Entry["details"] = null,
): Entry => ({
  type,
  status,
  attempt,
  details,
});
const numbered = (entries: readonly Entry[], first = 1): LogEvent[] =>
  entries.map((one, index) => ({ ...one, seq: first + index }));

const at = (type: string, attempt: number, details: Entry["details"] = null): Entry =>
  entry(type, "IN_PROGRESS", attempt, details);
const BORN = [entry("created", "CREATED", null), entry("submitted", "SUBMITTED", null)];
const FIRST = [
  ...BORN,
  entry("delivered", "DELIVERED", 1, { consumer_id: "c1" }),
  at("in_progress", 1),
  at("step_running", 1, { key: "a" }),
  at("step_done", 1, { key: "a", result: "ra" }),
  at("step_running", 1, { key: "b" }),
];
const LOST = [at("lost", 1), at("step_interrupted", 1, { key: "b" })];
const SECOND = [
  ...FIRST,
  ...LOST,
  at("redelivery_scheduled", 1),
  at("delivered", 2, { consumer_id: "c2" }),
  at("step_running", 2, { key: "b", interrupted: true }),
];

const step = (key: string, more: Partial<StoredStep> = {}): StoredStep => ({
  key,
  position: key === "a" ? 0 : 1,
  status: "planned",
  attempt: null,
  interrupted: false,
  seq: null,
  startedAt: null,
  timeoutMs: null,
  result: null,
  ...more,
});
const DONE_A = step("a", { status: "done", attempt: 1, seq: 6, result: "ra" });

/** Its first agent was lost within step b; a second one works on it. */
const HELD: StoredIntent = {
  id: "i",
  toAgent: "agent",
  intentType: "job.v1",
  status: "IN_PROGRESS",
  seq: SECOND.length,
  firstSeq: 1,
  attempt: 2,
  consumerId: "c2",
  deliveredAt: 100,
  strikes: 1,
  maxDeliveryAttempts: 3,
  priority: 5,
  queueAt: 10,
  availableAt: null,
  deadlineAt: 900,
  attemptTimeoutMs: 400,
  stepDeadline: 170,
  wakeAt: null,
  paused: false,
  conducted: false,
  createdAt: 0,
  planCursor: 1,
  stepsCount: 2,
  stepsTotal: 2,
  stepsDone: 1,
  openSteps: ["b"],
  outcome: null,
  lease: { consumerId: "c2", attempt: 2 },
  queue: [],
  timerDueAt: 170,
  live: true,
  events: numbered(SECOND),
  steps: [
    DONE_A,
    step("b", { status: "running", attempt: 2, interrupted: true, startedAt: 120, timeoutMs: 50 }),
  ],
};

const FREE = { consumerId: null, lease: null, openSteps: [], stepDeadline: null, timerDueAt: 900 };
const ENTRY = { toAgent: "agent", rank: -5, queueAt: 10, intentType: "job.v1" };
const told = (
  story: StoredIntent,
  entries: readonly Entry[],
  more: Partial<StoredIntent> = {},
): StoredIntent => ({
  ...story,
  seq: entries.length,
  events: numbered(entries),
  ...more,
});

/** The same before the second delivery. */
const QUEUED = told(HELD, [...FIRST, ...LOST, at("redelivery_scheduled", 1)], {
  ...FREE,
  attempt: 1,
  queue: [ENTRY],
  steps: [DONE_A, step("b", { status: "interrupted", attempt: 1, interrupted: true })],
});
const ASKED = told(QUEUED, [...FIRST, ...LOST, entry("waiting", "WAITING", 1)], {
  status: "WAITING",
  queue: [],
  openSteps: ["b"],
});
const DECIDED = told(
  ASKED,
  [
    ...FIRST,
    ...LOST,
    entry("waiting", "WAITING", 1),
    entry("step_decided", "WAITING", 1, { key: "b", decision: "done" }),
    entry("step_done", "WAITING", 1, { key: "b", result: "rb" }),
    at("resumed", 1),
    entry("completed", "COMPLETED", 1),
  ],
  {
    ...FREE,
    status: "COMPLETED",
    outcome: "COMPLETED",
    live: false,
    timerDueAt: null,
    strikes: 0,
    stepsDone: 2,
    planCursor: 2,
    steps: [DONE_A, step("b", { status: "done", attempt: 1, seq: 12, result: "rb" })],
  },
);
const EXHAUSTED_LOG = [
  ...FIRST,
  ...LOST,
  at("delivery_failed", 1),
  entry("failed", "FAILED", 1, { error: { code: "delivery_attempts_exhausted" } }),
];
const EXHAUSTED = told(QUEUED, EXHAUSTED_LOG, {
  status: "FAILED",
  outcome: "FAILED",
  live: false,
  maxDeliveryAttempts: 1,
  queue: [],
  timerDueAt: null,
});
const RETRIED_LOG = [
  ...BORN,
  entry("paused", "SUBMITTED", null),
  entry("canceled", "CANCELED", null),
  entry("retried", "SUBMITTED", null),
];
const RETRIED = told(QUEUED, RETRIED_LOG, {
  status: "SUBMITTED",
  attempt: 0,
  strikes: 0,
  paused: true,
  queue: [],
  steps: [step("a"), step("b")],
  stepsDone: 0,
  planCursor: 0,
});
const PRUNED: StoredIntent = { ...HELD, firstSeq: 8, events: HELD.events.slice(7) };

test.each(Object.entries({ HELD, QUEUED, ASKED, DECIDED, EXHAUSTED, RETRIED, PRUNED }))(
  "a true story passes: %s",
  (_name, story) => {
    expect(checkStored(story)).toEqual([]);
  },
);

const rewrite =
  (change: (entries: Entry[]) => Entry[]): Lie =>
  (story) =>
    told(story, change(story.events.map(({ seq: _seq, ...one }) => one)));
const insertAt = (index: number, ...entries: Entry[]): Lie =>
  rewrite((log) => log.toSpliced(index, 0, ...entries));
const replaceAt = (index: number, more: Partial<Entry>): Lie =>
  rewrite((log) => log.map((one, i) => (i === index ? { ...one, ...more } : one)));
const omitAt = (index: number): Lie => rewrite((log) => log.toSpliced(index, 1));
const says =
  (more: Partial<StoredIntent>): Lie =>
  (story) => ({ ...story, ...more });
const stepSays =
  (key: string, more: Partial<StoredStep>): Lie =>
  (story) => ({ ...story, steps: story.steps.map((one) => (one.key === key ? { ...one, ...more } : one)) });

const LIES: readonly [what: string, invariants: string[], story: StoredIntent, lie: Lie][] = [
  ["a gap in the log", ["I2"], HELD, (s) => ({ ...s, events: s.events.toSpliced(3, 1) })],
  ["a gap in a pruned log", ["I2"], PRUNED, (s) => ({ ...s, events: s.events.toSpliced(1, 1) })],
  ["more pruned than the row says", ["I2"], PRUNED, says({ firstSeq: 7 })],
  ["a pruned log with nothing left", ["I2"], PRUNED, says({ events: [] })],
  ["a row behind its log", ["I2"], HELD, says({ seq: SECOND.length - 1 })],
  ["a row of another status than its log", ["I2"], HELD, says({ status: "ACKNOWLEDGED" })],
  ["a second end", ["I3"], DECIDED, insertAt(13, entry("failed", "COMPLETED", 1))],
  ["a life after the end", ["I3"], RETRIED, replaceAt(4, { type: "signaled" })],
  ["an end without its outcome", ["I3"], DECIDED, says({ outcome: null })],
  ["an outcome of another end", ["I3"], DECIDED, says({ outcome: "FAILED" })],
  ["an outcome of a live intent", ["I3"], HELD, says({ outcome: "COMPLETED" })],
  ["an attempt that falls", ["I4"], HELD, insertAt(12, at("progress", 1))],
  [
    "an attempt that was never delivered",
    ["I4"],
    HELD,
    (s) =>
      insertAt(
        12,
        at("progress", 3),
      )({
        ...s,
        attempt: 3,
        lease: { consumerId: "c2", attempt: 3 },
        steps: s.steps.map((one) => ({ ...one, attempt: one.key === "b" ? 3 : 1 })),
      }),
  ],
  [
    "a delivery that skips an attempt",
    ["I4"],
    HELD,
    (s) =>
      rewrite((log) => log.map((one) => (one.attempt === 2 ? { ...one, attempt: 3 } : one)))({
        ...s,
        attempt: 3,
        lease: { consumerId: "c2", attempt: 3 },
        steps: s.steps.map((one) => ({ ...one, attempt: 3 })),
      }),
  ],
  ["a row of another attempt than its log", ["I4", "I6", "I13"], HELD, says({ attempt: 3 })],
  ["progress of an ended attempt", ["I4"], QUEUED, insertAt(10, at("progress", 1))],
  ["a loss of an ended attempt", ["I12", "I4", "I8"], QUEUED, insertAt(10, at("lost", 1))],
  ["a result of an ended attempt", ["I4"], DECIDED, replaceAt(10, { type: "signaled" })],
  ["a done step begun again", ["I5", "I13"], HELD, insertAt(12, at("step_running", 2, { key: "a" }))],
  ["a result of other text", ["I5"], HELD, stepSays("a", { result: "rA" })],
  ["a step that says another place in the log", ["I5"], HELD, stepSays("a", { seq: 5 })],
  [
    "a step that the log never saw done",
    ["I5"],
    QUEUED,
    (s) => stepSays("b", { status: "done", result: "x" })({ ...s, stepsDone: 2 }),
  ],
  ["a plan that went past an undone step", ["I5"], HELD, says({ planCursor: 2 })],
  ["a miscounted plan", ["I5"], HELD, says({ stepsTotal: 3 })],
  ["miscounted steps", ["I5"], HELD, says({ stepsCount: 3 })],
  ["miscounted results", ["I5"], HELD, says({ stepsDone: 2 })],
  ["a delivery into an open attempt", ["I6", "I8"], HELD, replaceAt(7, { type: "state_changed" })],
  ["a missing lease", ["I6"], HELD, says({ lease: null })],
  ["a lease of another consumer", ["I6"], HELD, says({ lease: { consumerId: "c1", attempt: 2 } })],
  ["a lease of an older attempt", ["I6"], HELD, says({ lease: { consumerId: "c2", attempt: 1 } })],
  ["a lease of nobody", ["I6"], QUEUED, says({ lease: { consumerId: "c1", attempt: 1 } })],
  [
    "an owner that got no delivery",
    ["I6"],
    HELD,
    says({ consumerId: "c3", lease: { consumerId: "c3", attempt: 2 } }),
  ],
  [
    "an owner after the end of the attempt",
    ["I6", "I7"],
    QUEUED,
    says({ consumerId: "c1", lease: { consumerId: "c1", attempt: 1 }, attemptTimeoutMs: null }),
  ],
  ["no entry in the queue", ["I7"], QUEUED, says({ queue: [] })],
  ["two entries in the queue", ["I7"], QUEUED, says({ queue: [ENTRY, { ...ENTRY, rank: 0 }] })],
  ["an entry of another priority", ["I7"], QUEUED, says({ queue: [{ ...ENTRY, rank: 5 }] })],
  ["an entry at another place", ["I7"], QUEUED, says({ queue: [{ ...ENTRY, queueAt: 11 }] })],
  ["an entry of another address", ["I7"], QUEUED, says({ queue: [{ ...ENTRY, toAgent: "other" }] })],
  ["an entry of a paused intent", ["I7"], RETRIED, says({ queue: [ENTRY] })],
  ["an entry of a held intent", ["I7"], HELD, says({ queue: [ENTRY] })],
  ["a timer that is missing", ["I7"], QUEUED, says({ timerDueAt: null })],
  ["a timer that is late", ["I7"], HELD, says({ timerDueAt: 500 })],
  ["a timer of an ended intent", ["I7"], DECIDED, says({ timerDueAt: 900 })],
  ["an attempt timeout that is not watched", ["I7"], HELD, says({ attemptTimeoutMs: 20 })],
  ["a step deadline of no step", ["I7"], HELD, says({ stepDeadline: 160, timerDueAt: 160 })],
  [
    "a delivery of a paused intent",
    ["I7", "I16"],
    HELD,
    insertAt(10, at("paused", 1), at("redelivery_scheduled", 1)),
  ],
  ["more losses than the log has", ["I8"], HELD, says({ strikes: 2 })],
  ["more losses than allowed", ["I8"], HELD, says({ strikes: 4 })],
  ["a life beyond the last loss", ["I8"], HELD, says({ maxDeliveryAttempts: 1 })],
  [
    "deliveries used up, and another reason",
    ["I8"],
    EXHAUSTED,
    replaceAt(10, { details: { error: { code: "failed" } } }),
  ],
  ["an interruption that nobody told of", ["I13"], HELD, omitAt(8)],
  ["a step that still ran at the end", ["I13"], EXHAUSTED, omitAt(8)],
  ["an interruption of nothing", ["I13"], QUEUED, insertAt(9, at("step_interrupted", 1, { key: "b" }))],
  ["an interrupted step handed out as new", ["I13"], HELD, replaceAt(11, { details: { key: "b" } })],
  ["a doubt that was forgotten", ["I13"], HELD, stepSays("b", { interrupted: false })],
  ["a step that runs in an older attempt", ["I13"], HELD, stepSays("b", { attempt: 1 })],
  ["a running step that is not open", ["I13"], HELD, says({ openSteps: [] })],
  ["an open step that does not run", ["I13"], HELD, says({ openSteps: ["a", "b"] })],
  ["an open step of a free intent", ["I13"], QUEUED, says({ openSteps: ["b"] })],
  ["a question about a done step", ["I13"], ASKED, says({ openSteps: ["a"] })],
  ["a step begun while paused", ["I16"], HELD, (s) => insertAt(11, at("paused", 2))({ ...s, paused: true })],
  ["a pause that a retry lifted", ["I7", "I16"], RETRIED, says({ paused: false })],
];

test.each(LIES)("tells %s (%s)", (_what, invariants, story, lie) => {
  const found = checkStored(lie(story));
  expect([...new Set(found.map((one) => one.invariant))].sort()).toEqual([...invariants].sort());
  expect(found.every((one) => one.intentId === "i" && one.message !== "")).toBe(true);
});

test("tells each contradiction once", () => {
  const messages = LIES.flatMap(([what, , story, lie]) =>
    checkStored(lie(story)).map(({ message }) => `${what}: ${message}`),
  );
  expect(messages.filter((message, index) => messages.indexOf(message) !== index)).toEqual([]);
});

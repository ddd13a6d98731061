// The judge is judged: a good history has no violation, and each way to go wrong is called by its invariant's name.
import { describe, expect, test } from "vitest";
import type { LogEvent } from "../../server/verify/log-rules.ts";
import type { Effect, Exchange, Json, Line, Told, Watched } from "./history.ts";
import { type Final, judge, judgeDrained } from "./judge.ts";

const ID = "00000000-0000-7000-8000-000000000001";

/** `type/status/attempt key`: one line per event. */
function logOf(lines: readonly string[]): LogEvent[] {
  return lines.map((line, index) => {
    const [head = "", key] = line.split(" ");
    const [type = "", status = "", attempt = "0"] = head.split("/");
    const details: Json = {
      ...(key === undefined ? {} : { key }),
      ...(type === "delivered" ? { consumer: `c${attempt}` } : {}),
      ...(type === "step_done" ? { result: `${key}!` } : {}),
      ...(type === "completed" ? { result: "all" } : {}),
    };
    return { seq: index + 1, type, status, attempt: Number(attempt) || null, details };
  });
}

/** Crashed once in step b, completed by the second agent. */
const GOOD = [
  "created/CREATED/0",
  "submitted/SUBMITTED/0",
  "delivered/DELIVERED/1",
  "in_progress/IN_PROGRESS/1",
  "step_running/IN_PROGRESS/1 a",
  "step_done/IN_PROGRESS/1 a",
  "step_running/IN_PROGRESS/1 b",
  "lost/IN_PROGRESS/1",
  "step_interrupted/IN_PROGRESS/1 b",
  "redelivery_scheduled/IN_PROGRESS/1",
  "delivered/IN_PROGRESS/2",
  "step_running/IN_PROGRESS/2 b",
  "step_done/IN_PROGRESS/2 b",
  "completed/COMPLETED/2",
];

function final(lines: readonly string[] = GOOD, more: Partial<Final> = {}): Final {
  const events = logOf(lines);
  const done = [
    ...new Set(events.filter((event) => event.type === "step_done").map((event) => event.details?.key)),
  ];
  return {
    id: ID,
    status: events.at(-1)?.status ?? "",
    attempt: Math.max(0, ...events.map((event) => event.attempt ?? 0)),
    lostDeliveries: 0,
    maxDeliveryAttempts: 3,
    payload: { mark: "m1" },
    result: "all",
    events,
    steps: done.map((key) => ({ key, status: "done", result: `${key}!` })),
    ...more,
  };
}

const exchange = (
  method: string,
  path: string,
  body: Json,
  answer: Json,
  more: Partial<Exchange> = {},
): Exchange => ({
  kind: "exchange",
  client: "t",
  at: 1,
  until: 2,
  method,
  path,
  key: null,
  body,
  status: 200,
  answer,
  ...more,
});
const write = (verb: string, body: Json, answer: Json = {}) =>
  exchange("POST", `/v1/intents/${ID}/${verb}`, body, answer);
const stepDone = (key: string, attempt: number, result = `${key}!`) =>
  exchange(
    "PUT",
    `/v1/intents/${ID}/steps/${key}`,
    { status: "done", attempt, result },
    { step: { status: "done", result } },
  );
const create = exchange("POST", "/v1/intents", { payload: { mark: "m1" } }, { intent_id: ID }, { key: "k1" });
const told = (attempt: number, more: Partial<Told> = {}): Told => ({
  kind: "told",
  client: "t",
  consumer: `c${attempt}`,
  incarnation: "i",
  at: 1,
  intentId: ID,
  attempt,
  seq: 3,
  doneSteps: [],
  nextStep: "a",
  ...more,
});
const effect = (step: string, attempt: number, idempotencyKey = `key-${step}`): Effect => ({
  kind: "effect",
  client: "t",
  at: 1,
  intentId: ID,
  step,
  attempt,
  idempotencyKey,
});
const watched = (seq: number, watcher = "w"): Watched => ({
  kind: "watched",
  watcher,
  at: 1,
  intentId: ID,
  seq,
  type: GOOD[seq - 1]?.split("/")[0] ?? "",
});

const HISTORY: Line[] = [
  create,
  told(1),
  write("start", { attempt: 1 }),
  effect("a", 1),
  stepDone("a", 1),
  effect("b", 1),
  told(2, { seq: 11, doneSteps: ["a"], nextStep: "b" }),
  effect("b", 2),
  stepDone("b", 2),
  write("resolve", { status: "COMPLETED", attempt: 2 }),
  exchange("GET", `/v1/intents/${ID}?wait=5`, {}, { status: "COMPLETED", result: "all" }),
  ...GOOD.map((_, index) => watched(index + 1)),
];

const found = (history: readonly Line[], finals: readonly Final[] = [final()]) =>
  [...new Set(judge(history, finals).violations.map((one) => one.invariant))].sort();
const without = (type: string): string[] => GOOD.filter((line) => !line.startsWith(type));
const insert = (at: number, ...lines: string[]): string[] => [
  ...GOOD.slice(0, at),
  ...lines,
  ...GOOD.slice(at),
];

test("a crash and its recovery, seen by everybody, violate nothing", () => {
  expect(judge(HISTORY, [final()]).violations).toEqual([]);
});

test("a request that nobody answered promises nothing", () => {
  const unknown = { ...stepDone("c", 2), status: null, until: null, answer: null };
  expect(found([...HISTORY, unknown])).toEqual([]);
});

describe("an acknowledged write that is gone is lost (I1):", () => {
  const lost = (history: readonly Line[], finals = [final()]) => {
    expect(found(history, finals)).toContain("I1");
    expect(judge(history, finals).lost).toBeGreaterThan(0);
  };
  test("a create", () => lost([create], []));
  test("a create of a batch", () => {
    const batch = { intents: [{ payload: { mark: "m1" } }, { payload: { mark: "m2" } }] };
    lost([
      exchange("POST", "/v1/intents/batch", batch, { intents: [{ intent_id: ID }, { intent_id: "other" }] }),
    ]);
  });
  test("a payload", () => lost([create], [final(GOOD, { payload: { mark: "other" } })]));
  test("a step", () => lost([stepDone("c", 2)]));
  test("an end", () =>
    lost(
      [write("resolve", { status: "COMPLETED", attempt: 2 })],
      [final(without("completed"), { status: "IN_PROGRESS" })],
    ));
  test("a hand-back", () => lost([write("release", { attempt: 2 })]));
  test("a cancel", () => lost([write("cancel", {})]));
  test("an event that a watcher saw", () =>
    lost([...GOOD.map((_, n) => watched(n + 1))], [final(GOOD.slice(0, 13))]));
  test("an end that a reader saw", () =>
    lost([exchange("GET", `/v1/intents/${ID}?wait=5`, {}, { status: "FAILED" })]));
});

describe("of the log", () => {
  test("a gap is seen (I2)", () => {
    const events = logOf(GOOD).map((event, n) => (n < 7 ? event : { ...event, seq: event.seq + 1 }));
    expect(found([], [final(GOOD, { events })])).toEqual(["I2"]);
  });
  test("a row that says something else is seen (I2)", () => {
    expect(found([], [final(GOOD, { status: "FAILED" })])).toEqual(["I2"]);
    expect(found([], [final([])])).toContain("I2");
  });
  test("a second end is seen (I3)", () => {
    expect(found([], [final([...GOOD, "failed/FAILED/2"])])).toContain("I3");
    expect(found([], [final([...GOOD, "completed/COMPLETED/2"])])).toContain("I3");
  });
  test("leaving an end without an operator is seen, with one it is not (I3)", () => {
    expect(found([], [final([...GOOD, "delivered/IN_PROGRESS/3"])])).toContain("I3");
    const reopened = [
      ...GOOD.slice(0, 13),
      "canceled/CANCELED/2",
      "retried/SUBMITTED/2",
      "delivered/DELIVERED/3",
      "completed/COMPLETED/3",
    ];
    expect(found([], [final(reopened)])).toEqual([]);
  });
  test("an attempt that falls, repeats or jumps is seen (I4)", () => {
    expect(found([], [final([...GOOD.slice(0, 13), "completed/COMPLETED/1"])])).toContain("I4");
    expect(found([], [final(GOOD.map((line) => line.replace(/\/2/, "/3")))])).toContain("I4");
    expect(found([], [final(GOOD, { attempt: 5 })])).toContain("I4");
  });
  test("work outside an open attempt is seen (I4)", () => {
    expect(found([], [final(insert(10, "step_running/IN_PROGRESS/1 c"))])).toContain("I4");
  });
  test("a step begun or done again is seen (I5)", () => {
    expect(
      found([], [final(insert(11, "step_running/IN_PROGRESS/2 a", "step_failed/IN_PROGRESS/2 a"))]),
    ).toContain("I5");
    expect(found([], [final(insert(12, "step_done/IN_PROGRESS/2 a"))])).toContain("I5");
  });
  test("a result that changed is seen (I5)", () => {
    const steps = [{ key: "a", status: "done", result: "other" }];
    expect(found([], [final(GOOD, { steps })])).toEqual(["I5"]);
  });
  test("two open attempts are seen (I6)", () => {
    expect(found([], [final(insert(6, "delivered/IN_PROGRESS/2"))])).toContain("I6");
  });
  test("a delivery while paused is seen (I7), and a step begun while paused (I16)", () => {
    expect(found([], [final(insert(10, "paused/IN_PROGRESS/1"))])).toEqual(["I16", "I7"]);
  });
  test("more losses than allowed are seen, and a wrong count (I8)", () => {
    expect(found([], [final(GOOD, { maxDeliveryAttempts: 1 })])).toEqual(["I8"]);
    expect(found([], [final(GOOD, { lostDeliveries: 2 })])).toEqual(["I8"]);
  });
  test("a step that vanished with its attempt is seen (I13)", () => {
    expect(found([], [final(without("step_interrupted"))])).toContain("I13");
  });
});

describe("of what clients were told", () => {
  test("a late write that was let in is seen (I4)", () => {
    expect(found([...HISTORY, write("resolve", { status: "COMPLETED", attempt: 1 })])).toEqual(["I4"]);
    const stale = exchange(
      "PUT",
      `/v1/intents/${ID}/steps/b`,
      { status: "failed", attempt: 1 },
      { step: { status: "failed" } },
    );
    expect(found([...HISTORY, stale])).toEqual(["I4"]);
  });
  test("a late done that was answered with the first result is right, with another it is the wrong winner (I5)", () => {
    expect(found([...HISTORY, stepDone("b", 1)])).toEqual([]);
    expect(found([...HISTORY, stepDone("b", 1, "mine")])).toEqual(["I5"]);
  });
  test("one attempt given to two is seen (I6)", () => {
    expect(found([told(1), told(1, { consumer: "other" })])).toEqual(["I6"]);
    expect(found([told(1), told(1, { incarnation: "other" })])).toEqual(["I6"]);
  });
  test("a frame that forgets a done step, or hands it out, is seen (I5)", () => {
    expect(found([told(2, { seq: 11, doneSteps: [], nextStep: "b" })])).toEqual(["I5"]);
    expect(found([told(2, { seq: 11, doneSteps: ["a"], nextStep: "a" })])).toEqual(["I5"]);
  });
  test("a key that made two intents is seen (I11)", () => {
    const other = { ...final(), id: "other", payload: { mark: "m2" } };
    const again = { ...create, body: { payload: { mark: "m2" } }, answer: { intent_id: "other" } };
    expect(found([create, again], [final(), other])).toEqual(["I11"]);
    expect(found([], [final(), { ...final(), id: "twin" }])).toEqual(["I11"]);
  });
  test("a watcher's gap, repetition and wrong event are seen (I10)", () => {
    expect(found([watched(1), watched(3)])).toEqual(["I10"]);
    expect(found([watched(1), watched(1)])).toEqual(["I10"]);
    expect(found([{ ...watched(1), type: "failed" }])).toEqual(["I10"]);
  });
  test("a reader's wrong result is seen (I3)", () => {
    expect(
      found([exchange("GET", `/v1/intents/${ID}?wait=5`, {}, { status: "COMPLETED", result: "other" })]),
    ).toEqual(["I3"]);
  });
});

describe("of effects", () => {
  test("a done step that acts again in a later delivery is seen, a woken zombie's is not (I5)", () => {
    const more = final(insert(11, "step_running/IN_PROGRESS/2 x"));
    expect(found([effect("a", 2)], [more])).toEqual(["I5"]);
    expect(found([effect("b", 2), effect("b", 1)])).toEqual([]);
  });
  test("two idempotency keys are seen (I5)", () => {
    expect(found([effect("b", 1, "x"), effect("b", 2, "y")])).toEqual(["I5"]);
  });
  test("acting more often than begun is seen (I13)", () => {
    expect(found([effect("a", 1), effect("a", 1)])).toEqual(["I13"]);
  });
});

describe("of state", () => {
  const put = (value: unknown, version: number, key: string) =>
    exchange(
      "PUT",
      "/v1/state/session%3As/k",
      { value },
      { entry: { scope: "session:s", key: "k", version } },
      { key },
    );
  const stored = (value: unknown) => [{ scope: "session:s", key: "k", version: 1, value }];
  test("a compare-and-set that compared nothing is seen (I9)", () => {
    const over = exchange(
      "PUT",
      "/v1/state/s/k",
      { value: 1, if_version: 3 },
      { entry: { scope: "s", key: "k", version: 5 } },
    );
    expect(
      judge([over], [], [{ scope: "s", key: "k", version: 5, value: 1 }]).violations.map(
        (one) => one.invariant,
      ),
    ).toEqual(["I9"]);
  });
  const of = (history: readonly Line[], state: ReturnType<typeof stored>) =>
    judge(history, [], state).violations.map((one) => one.invariant);
  test("half a commit is seen (I9), and an acknowledged one that is not there (I1)", () => {
    const write = (key: string) => ({ scope: "session:s", key, value: { n: 1, mark: "m" } });
    const version = (key: string) => ({ ...write(key), version: 1 });
    const commit = { writes: [write("left"), write("right")] };
    const unanswered = exchange("POST", "/v1/state/commit", commit, {}, { status: null, answer: null });
    const of = (one: Exchange, keys: readonly string[]) =>
      judge([one], [], keys.map(version)).violations.map((found) => found.invariant);
    expect(of(unanswered, [])).toEqual([]);
    expect(of(unanswered, ["left", "right"])).toEqual([]);
    expect(of(unanswered, ["left"])).toEqual(["I9"]);
    expect(of({ ...unanswered, status: 200 }, ["left", "right"])).toEqual([]);
    expect(of({ ...unanswered, status: 200 }, [])).toEqual(["I1"]);
  });
  test("a restore that leaves an intent's own state as it was is seen (I9)", () => {
    const restored = (more: readonly string[] = []) =>
      final(
        [
          "created/CREATED/0",
          "submitted/SUBMITTED/0",
          "submitted/SUBMITTED/0",
          "submitted/SUBMITTED/0",
        ].concat(more),
      );
    const events = restored().events.map((event) =>
      event.seq === 4 ? { ...event, type: "restored", details: { to: 2 } } : event,
    );
    const version = (seq: number, number: number, value: unknown) => ({
      scope: `intent:${ID}`,
      key: "k",
      version: number,
      value,
      seq,
    });
    const of = (...state: ReturnType<typeof version>[]) =>
      judge([], [{ ...restored(), events }], state).violations.map((found) => found.invariant);
    expect(of(version(2, 1, "old"), version(3, 2, "new"), version(4, 3, "old"))).toEqual([]);
    expect(of(version(2, 1, "old"), version(3, 2, "new"))).toEqual(["I9"]);
    expect(of(version(3, 1, "new"), version(4, 2, null))).toEqual([]);
    expect(of(version(3, 1, "new"))).toEqual(["I9"]);
    // The task of a person that is assigned again comes before what the restore writes.
    events.push(
      ...logOf(["waiting/WAITING/0", "state_changed/WAITING/0"]).map((one, n) => ({ ...one, seq: 5 + n })),
    );
    expect(of(version(3, 1, "new"), version(6, 2, null))).not.toContain("I9");
  });
  test("a lost or changed version is seen (I1), and two winners of one (I9)", () => {
    expect(of([put(1, 1, "a"), put(1, 1, "a")], stored(1))).toEqual([]);
    expect(of([put(1, 1, "a")], [])).toEqual(["I1"]);
    expect(of([put(1, 1, "a")], stored(2))).toEqual(["I1"]);
    expect(of([put(1, 1, "a"), put(1, 1, "b")], stored(1))).toEqual(["I9"]);
  });
});

test("what is still open when all is healed and drained is seen (I7)", () => {
  expect(judgeDrained([final(), final(GOOD.slice(0, 6))]).map((one) => one.invariant)).toEqual(["I7"]);
});

describe("of waits, signals and restores", () => {
  const entry = (type: string, attempt: number, details: Json = {}, status = "IN_PROGRESS"): Json => ({
    type,
    status,
    attempt: attempt || null,
    details,
  });
  const logged = (...entries: Json[]): LogEvent[] =>
    entries.map((one, index) => ({ seq: index + 1, ...one }) as LogEvent);
  const BORN = [entry("created", 0, {}, "CREATED"), entry("submitted", 0, {}, "SUBMITTED")];
  const delivered = (attempt: number) => entry("delivered", attempt, { consumer: `c${attempt}` });
  const waits = (key: string, signal: string) => [
    entry("step_waiting", 1, { key, wait: { signal } }),
    entry("waiting", 1, { steps: [key] }, "WAITING"),
  ];
  const done = (key: string, attempt: number, more: Json = {}) =>
    entry("step_done", attempt, { key, result: `${key}!`, ...more });
  const story = (...entries: Json[]) => {
    const events = logged(...entries);
    const last = events.at(-1);
    const kept = [
      ...new Set(events.filter(({ type }) => type === "step_done").map(({ details }) => details?.key)),
    ];
    return final([], {
      events,
      status: last?.status ?? "",
      attempt: last?.attempt ?? 0,
      steps: kept.map((key) => ({ key, status: "done", result: `${key}!` })),
    });
  };
  const TAKEN = [
    ...BORN,
    delivered(1),
    ...waits("w", "go"),
    entry("signaled", 1, { name: "go", data: "w!" }, "WAITING"),
  ];

  test("a wait that a signal ends is right", () => {
    expect(
      found([], [story(...TAKEN, done("w", 1, { signal: 6 }), entry("resumed", 1), delivered(2))]),
    ).toEqual([]);
  });
  test("a signal taken twice, or that was never there, is seen (I14)", () => {
    const twice = story(...TAKEN, done("w", 1, { signal: 6 }), delivered(2), done("v", 2, { signal: 6 }));
    expect(found([], [twice])).toEqual(["I14"]);
    expect(found([], [story(...BORN, delivered(1), done("w", 1, { signal: 2 }))])).toEqual(["I14"]);
  });
  test("a wait for a signal that is there is seen (I14), and a lost signal (I14)", () => {
    const early = story(
      ...BORN,
      entry("signaled", 0, { name: "go" }, "SUBMITTED"),
      delivered(1),
      ...waits("w", "go"),
    );
    expect(found([], [early])).toEqual(["I14"]);
    expect(found([write("signals/go", {}, { seq: 9 })], [final()])).toEqual(["I14"]);
  });
  test("a wait that times out needs no attempt, another failure does (I4)", () => {
    expect(
      found([], [story(...BORN, delivered(1), ...waits("w", "go"), entry("step_failed", 1, { key: "w" }))]),
    ).toEqual([]);
    expect(
      found([], [story(...BORN, delivered(1), ...waits("w", "go"), entry("step_failed", 1, { key: "v" }))]),
    ).toEqual(["I4"]);
  });
  test("what a restore kept may not run again (I5), what it superseded may", () => {
    const before = [
      ...BORN,
      delivered(1),
      done("a", 1),
      done("b", 1),
      entry("restored", 1, { to: 4, kept: ["a"] }, "SUBMITTED"),
      delivered(2),
    ];
    expect(found([], [story(...before, done("b", 2))])).toEqual([]);
    expect(found([], [story(...before, done("b", 2), done("a", 2))])).toContain("I5");
  });
  test("a signal that a restore gave back may be taken again", () => {
    const again = story(
      ...TAKEN,
      done("w", 1, { signal: 6 }),
      entry("restored", 1, { to: 3, kept: [] }, "SUBMITTED"),
      delivered(2),
      done("w", 2, { signal: 6 }),
    );
    expect(found([], [again])).toEqual([]);
  });
  test("a signal that is not there as it was sent is seen (I14), and one that became two (I11)", () => {
    const sent = (data: unknown, key: string | null = null) =>
      exchange("POST", `/v1/intents/${ID}/signals/go`, { data }, { seq: 6 }, { key });
    expect(found([sent("w!")], [story(...TAKEN)])).toEqual([]);
    expect(found([sent("other")], [story(...TAKEN)])).toEqual(["I14"]);
    expect(found([], [story(...TAKEN, done("w", 1, { signal: 6, result: "other" }))])).toContain("I14");
    const twice = story(...TAKEN, entry("signaled", 1, { name: "go", data: "w!" }, "WAITING"));
    expect(found([sent("w!", "k")], [twice])).toEqual(["I11"]);
    expect(found([sent("w!", "k"), { ...sent("w!", "l"), status: null, answer: null }], [twice])).toEqual([]);
  });
  test("a decision, a checkpoint or a word about a step in doubt that is gone is lost (I1)", () => {
    const decided = write("resume", { task_result: { outcome: "yes" } }, { step: { key: "ask" } });
    const asked = (outcome: string) => story(...BORN, delivered(1), done("ask", 1, { result: { outcome } }));
    const steps = [{ key: "ask", status: "done", result: { outcome: "yes" } }];
    expect(found([decided], [{ ...asked("yes"), steps }])).toEqual([]);
    expect(found([decided], [{ ...asked("no"), steps }])).toContain("I1");
    const named = exchange("PUT", `/v1/intents/${ID}/checkpoints/here`, {}, { checkpoint: { seq: 3 } });
    const with3 = story(...BORN, entry("checkpoint_named", 0, { name: "here" }, "SUBMITTED"));
    expect(found([named], [{ ...with3, checkpoints: ["here"] }])).toEqual([]);
    expect(found([named], [with3])).toEqual(["I1"]);
    expect(found([named], [{ ...story(...BORN), checkpoints: ["here"] }])).toEqual(["I1"]);
    expect(found([write("steps/a/decide", { retry: true })])).toEqual(["I1"]);
  });
  test("a restore that did something else than was answered is seen (I1)", () => {
    const restored = { to: 3, kept: ["a"], run_again: [], superseded: ["b"] };
    const answer = (superseded: string[]) =>
      write("restore", {}, { restored: { seq: 3, kept: ["a"], run_again: [], superseded } });
    const log = story(...BORN, delivered(1), done("a", 1), entry("restored", 1, restored, "SUBMITTED"));
    expect(found([answer(["b"])], [log])).toEqual([]);
    expect(found([answer([])], [log])).toEqual(["I1"]);
  });

  const begun = (key: string, attempt: number, idempotency_key: string) =>
    entry("step_running", attempt, { key, idempotency_key });
  test("a superseded step acts under a new key (I5), one that was begun before under its own", () => {
    const back = (to: number, superseded: string[], run_again: string[] = []) =>
      entry("restored", 1, { to, kept: [], run_again, superseded }, "SUBMITTED");
    const again = (key: string, restored: Json, used = key) => [
      story(
        ...BORN,
        delivered(1),
        begun("a", 1, "k"),
        done("a", 1),
        restored,
        delivered(2),
        begun("a", 2, used),
      ),
    ];
    expect(
      found(
        [],
        again("l", back(3, ["a"])).map((one) => ({ ...one, steps: [] })),
      ),
    ).toEqual([]);
    expect(
      found(
        [],
        again("k", back(3, ["a"])).map((one) => ({ ...one, steps: [] })),
      ),
    ).toEqual(["I5"]);
    expect(
      found(
        [],
        again("k", back(4, [], ["a"])).map((one) => ({ ...one, steps: [] })),
      ),
    ).toEqual([]);
  });
  test("what acts after a restore is judged by what the restore kept (I5)", () => {
    const log = (kept: string[]) => ({
      ...story(
        ...BORN,
        delivered(1),
        begun("a", 1, "k"),
        done("a", 1),
        entry(
          "restored",
          1,
          { to: 5, kept, run_again: [], superseded: kept.length > 0 ? [] : ["a"] },
          "SUBMITTED",
        ),
        delivered(2),
        begun("x", 2, "x"),
      ),
      steps: kept.map((key) => ({ key, status: "done", result: "a!" })),
    });
    expect(found([effect("a", 1), effect("a", 2)], [log(["a"])])).toContain("I5");
    expect(found([effect("a", 1)], [log(["a"])])).toEqual([]);
    expect(found([effect("a", 1, "k")], [log([])])).toEqual([]);
  });

  test("a parent that is told of an end that its child did not have is seen (I3)", () => {
    const child = { ...final(), id: "child", payload: { mark: "m2" }, parentId: ID };
    const asked = exchange(
      "PUT",
      `/v1/intents/${ID}/steps/all`,
      { status: "waiting", attempt: 1, wait: { intents: ["child"] } },
      { step: { status: "done" } },
    );
    const parent = (told: Json[]) => {
      const log = story(...BORN, delivered(1), done("all", 1, { result: told }));
      return { ...log, steps: [{ key: "all", status: "done", result: told }] };
    };
    const told = (more: Json) => found([asked], [parent([{ intent_id: "child", ...more }]), child]);
    expect(told({ status: "COMPLETED", result: "all" })).not.toContain("I3");
    expect(told({ status: "COMPLETED", result: "other" })).toContain("I3");
    expect(told({ status: "FAILED", error: {} })).toContain("I3");
    expect(found([asked], [parent([]), child])).toContain("I3");
  });
  test("a step that sent a child twice is seen (I11), but for one that a restore superseded", () => {
    const twins = ["x", "y"].map((id) => ({ ...final(), id, parentId: ID, parentStep: "send" }));
    expect(found([], [story(...BORN), ...twins])).toEqual(["I11"]);
    const back = entry("restored", 0, { to: 2, kept: [], superseded: ["send"] }, "SUBMITTED");
    expect(found([], [story(...BORN, back), ...twins])).toEqual([]);
  });
  test("a child of another parent than it was sent with is seen (I1)", () => {
    const sent = exchange(
      "POST",
      "/v1/intents",
      { payload: { mark: "m1" }, parent_intent_id: "other" },
      { intent_id: ID },
    );
    expect(found([sent])).toEqual(["I1"]);
  });

  test("an unpause by one of two leaves it paused (I7)", () => {
    const half = story(
      ...BORN,
      entry("paused", 0, { paused_by: ["intent", "session"] }, "SUBMITTED"),
      entry("unpaused", 0, { paused_by: ["session"] }, "SUBMITTED"),
      delivered(1),
    );
    expect(found([], [half])).toEqual(["I7"]);
  });
});

// The judge is judged: a good history has no violation, and what clients were promised, told and shown has to be true.
import { describe, expect, test } from "vitest";
import type { Line } from "./history.ts";
import { judge, judgeDrained } from "./judge.ts";
import {
  BORN,
  create,
  delivered,
  done,
  effect,
  entry,
  exchange,
  final,
  found,
  GOOD,
  HISTORY,
  ID,
  insert,
  stepDone,
  story,
  told,
  watched,
  without,
  write,
} from "./stories.ts";

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

describe("of people's words", () => {
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
  test("a step recorded behind the work may repeat itself, but nothing begins before its result is there (I5)", () => {
    expect(found([effect("a", 1, null), effect("a", 1, null), effect("b", 1)])).toEqual([]);
    expect(found([effect("x", 1, null), effect("b", 1)])).toEqual(["I5"]);
    expect(found([effect("a", 2, null)])).toEqual(["I5"]);
  });
});

test("what is still open when all is healed and drained is seen (I7)", () => {
  expect(judgeDrained([final(), final(GOOD.slice(0, 6))]).map((one) => one.invariant)).toEqual(["I7"]);
});

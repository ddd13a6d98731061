// The judge of waits: signals, and children.
import { describe, expect, test } from "vitest";
import type { Json } from "./history.ts";
import {
  BORN,
  delivered,
  done,
  entry,
  exchange,
  final,
  found,
  ID,
  story,
  TAKEN,
  waits,
  write,
} from "./stories.ts";

describe("of waits and signals", () => {
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
});

describe("of children", () => {
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
});

// The judge of state: versions that are gone, written over, half committed or not restored.
import { describe, expect, test } from "vitest";
import type { Exchange, Line } from "./history.ts";
import { judge } from "./judge.ts";
import { exchange, final, ID, logOf } from "./stories.ts";

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

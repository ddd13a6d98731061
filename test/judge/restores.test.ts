// The judge of restores: what they keep, what they give back, and whose key is new afterwards.
import { describe, expect, test } from "vitest";
import type { Json } from "./history.ts";
import { BORN, begun, delivered, done, effect, entry, found, story, TAKEN, write } from "./stories.ts";

describe("of restores", () => {
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

  test("a restore that did something else than was answered is seen (I1)", () => {
    const restored = { to: 3, kept: ["a"], run_again: [], superseded: ["b"] };
    const answer = (superseded: string[]) =>
      write("restore", {}, { restored: { seq: 3, kept: ["a"], run_again: [], superseded } });
    const log = story(...BORN, delivered(1), done("a", 1), entry("restored", 1, restored, "SUBMITTED"));
    expect(found([answer(["b"])], [log])).toEqual([]);
    expect(found([answer([])], [log])).toEqual(["I1"]);
  });

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
});

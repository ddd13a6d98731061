// Durations as people type them.
import { describe, expect, it } from "vitest";
import { type Duration, describeMs, toMs, toSeconds } from "../../sdk/src/duration.ts";
import { PerdureError } from "../../sdk/src/errors.ts";

describe("durations", () => {
  it.each<[Duration, number]>([
    [250, 250],
    [0, 0],
    ["250ms", 250],
    ["30s", 30_000],
    ["1.5s", 1_500],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["7d", 604_800_000],
  ])("reads %s as %d ms", (given, ms) => {
    expect(toMs(given)).toBe(ms);
  });

  it.each(["30", "s", "-1s", "1 week", "1s2", "", Number.NaN, -1, Number.POSITIVE_INFINITY, null, {}])(
    "refuses %s and says what a duration looks like",
    (given) => {
      let thrown: unknown;
      try {
        toMs(given as Duration);
      } catch (error) {
        thrown = error;
      }
      expect(PerdureError.is(thrown, "validation_failed")).toBe(true);
      expect((thrown as Error).message).toContain("30s");
    },
  );

  it("keeps fractions of seconds on the wire", () => {
    expect(toSeconds("250ms")).toBe(0.25);
  });

  it("speaks of durations in a fitting unit", () => {
    expect([400, 46_000, 720_000, 12_600_000].map(describeMs)).toEqual(["0.4 s", "46 s", "12 min", "3.5 h"]);
  });
});

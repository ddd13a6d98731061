// What the benchmark suite makes of its rounds.
import { expect, test } from "vitest";
import { formatFigure, headline } from "../../bench/support/report.ts";
import { median, Results } from "../../bench/support/results.ts";
import { runRounds } from "../../bench/support/rounds.ts";

const UNLIMITED = {
  rounds: 3,
  sideMs: 60_000,
  until: Number.POSITIVE_INFINITY,
  deadline: Number.POSITIVE_INFINITY,
};

const measured = (sides: Record<string, (number | undefined)[]>): Results => {
  const results = new Results();
  for (const [side, rounds] of Object.entries(sides))
    for (const per_s of rounds) results.add(side, per_s === undefined ? undefined : { per_s });
  return results;
};

test("the median is the middle one, or the mean of the two in the middle", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeUndefined();
});

test("a ratio is the median of the rounds' ratios, so that a slow round of both does not count", () => {
  const results = measured({ us: [1_000, 100, 1_200], them: [100, 10, 100] });
  expect(results.ratio("us", "them", "per_s")).toBe(10);
});

test("a round in which either side failed is left out of the ratio", () => {
  const results = measured({ us: [1_000, 500, 900], them: [100, undefined, 100] });
  expect(results.ratio("us", "them", "per_s")).toBe(9.5);
  expect(results.ratio("us", "nobody", "per_s")).toBeUndefined();
});

test("the best side is the one with the highest median among those asked for", () => {
  const results = measured({ a: [1, 9, 1], b: [5, 5, 5], c: [7, 7, 7], failed: [undefined] });
  expect(results.best("per_s", (side) => side !== "c")).toBe("b");
  expect(results.best("per_s", (side) => side === "failed")).toBeUndefined();
  expect(results.sides).toEqual(["a", "b", "c"]);
});

test("sides are measured in turn, one that fails is named and the others go on", async () => {
  const order: string[] = [];
  const notes: string[] = [];
  const side = (name: string, rounds?: number) => ({
    name,
    ...(rounds !== undefined && { rounds }),
    measure: async () => {
      order.push(name);
      if (name === "broken") throw new Error("no such luck");
      return { per_s: order.length };
    },
  });
  const limits = { ...UNLIMITED, rounds: 2 };
  const results = await runRounds([side("a"), side("broken"), side("once", 1)], limits, (note) =>
    notes.push(note),
  );
  expect(order).toEqual(["a", "broken", "once", "a", "broken"]);
  expect(results.medians("a")).toEqual({ per_s: 2.5 });
  expect(results.sides).toEqual(["a", "once"]);
  expect(notes[0]).toBe("broken failed: no such luck");
});

test("no further round begins when it would end too late", async () => {
  const measure = async () => ({ per_s: 1 });
  const sides = [{ name: "a", measure }];
  const late = await runRounds(sides, { ...UNLIMITED, until: 0 }, () => undefined);
  expect(late.rounds("a")).toHaveLength(1);
  const over = await runRounds(sides, { ...UNLIMITED, deadline: 0 }, () => undefined);
  expect(over.sides).toEqual([]);
});

test("headlines are for programs: a plain number, or the word missing", () => {
  expect(headline("four_step_vs_best_peer", 13.45678)).toBe("four_step_vs_best_peer=13.46");
  expect(headline("batch_submit_per_s", 31_234.5)).toBe("batch_submit_per_s=31230");
  expect(headline("at_5m", undefined)).toBe("at_5m=missing");
  expect(headline("at_5m", Number.NaN)).toBe("at_5m=missing");
  expect([1_234.5, 12.345, 1.2345, 0.001234, Number.NaN].map(formatFigure)).toEqual([
    "1235",
    "12.3",
    "1.23",
    "0.0012",
    "-",
  ]);
});

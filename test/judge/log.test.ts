// The judge of a log alone: each way in which it can be wrong is called by its invariant's name.
import { describe, expect, test } from "vitest";
import {
  BORN,
  delivered,
  entry,
  final,
  found,
  GOOD,
  insert,
  logOf,
  story,
  waits,
  without,
} from "./stories.ts";

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
  test("a loss of what its agent had handed back or parked is seen (I12)", () => {
    for (const end of ["released/IN_PROGRESS/1", "waiting/IN_PROGRESS/1"])
      expect(found([], [final(insert(7, end))])).toEqual(["I12"]);
  });
  test("more losses than allowed are seen, and a wrong count (I8)", () => {
    expect(found([], [final(GOOD, { maxDeliveryAttempts: 1 })])).toEqual(["I8"]);
    expect(found([], [final(GOOD, { lostDeliveries: 2 })])).toEqual(["I8"]);
  });
  test("a step that vanished with its attempt is seen (I13)", () => {
    expect(found([], [final(without("step_interrupted"))])).toContain("I13");
  });
});

describe("of waits and pauses in the log", () => {
  test("a wait that times out needs no attempt, another failure does (I4)", () => {
    expect(
      found([], [story(...BORN, delivered(1), ...waits("w", "go"), entry("step_failed", 1, { key: "w" }))]),
    ).toEqual([]);
    expect(
      found([], [story(...BORN, delivered(1), ...waits("w", "go"), entry("step_failed", 1, { key: "v" }))]),
    ).toEqual(["I4"]);
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

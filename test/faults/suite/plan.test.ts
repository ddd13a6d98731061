// The same seed is the same plan of faults; a long plan leaves none out.
import { expect, test } from "vitest";
import { CRASH_POINTS } from "../crash-point-names.ts";
import { describeFault, planFaults } from "./plan.ts";

test("a seed names one plan, whole and as the beginning of a longer one", () => {
  const plan = planFaults(42, 60_000);
  expect(planFaults(42, 60_000)).toEqual(plan);
  expect(planFaults(42, 120_000).slice(0, plan.length)).toEqual(plan);
  expect(planFaults(43, 60_000)).not.toEqual(plan);
});

test("ten minutes hold every kind of fault, every crash point, every way to fail of a wire", () => {
  const faults = planFaults(7, 600_000).map((planned) => planned.fault);
  expect(new Set(faults.map((fault) => fault.kind)).size).toBe(13);
  const points = faults.flatMap((fault) => (fault.kind === "crash server" ? [fault.point] : []));
  expect(new Set(points).size).toBe(CRASH_POINTS.length);
  const wires = faults.flatMap((fault) => ("fault" in fault ? [fault.fault.kind] : []));
  expect([...new Set(wires)].sort()).toEqual([
    "blackhole",
    "cut-mid-frame",
    "delay",
    "half-open",
    "refuse",
    "reset",
  ]);
  expect(faults.every((fault) => describeFault(fault) !== "")).toBe(true);
});

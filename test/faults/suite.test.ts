// The short form of the fault suite; the long one is `npm run test:faults -- --minutes M --seed S`.
import { expect, test } from "vitest";
import { runFaults } from "./suite/suite.ts";

const MS = Number(process.env.FAULT_MS ?? 10_000);
const seed = Number(process.env.FAULT_SEED ?? Math.floor(Math.random() * 2 ** 31));

test(
  "random faults on every part lose nothing and violate nothing",
  async () => {
    const lines = [`FAULT_SEED=${seed} FAULT_MS=${MS}`];
    const report = await runFaults({ seed, ms: MS, say: (line) => lines.push(line) });
    console.log(`${lines[0]}: ${report.faults} faults, ${report.operations} operations`);
    if (report.evidence !== null) lines.push(`evidence in ${report.evidence}`);
    expect(report.violations, lines.join("\n")).toEqual([]);
    expect(report.lost).toBe(0);
    expect(report.operations).toBeGreaterThan(0);
  },
  MS + 300_000,
);

// npm run test:faults [-- --minutes M --seed S]: faults on real processes for as long as asked, and a verdict.

import { parseArgs } from "node:util";
import { compilePrograms } from "../support/programs.ts";
import type { Report } from "./suite/report.ts";
import { runFaults } from "./suite/suite.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    distribution: { type: "string" },
    quiet: { type: "boolean", default: false },
  },
});
const ms = Number(values.minutes) * 60_000;
const seed = Number(values.seed);
if (!(ms > 0) || !Number.isInteger(seed)) {
  console.error("usage: npm run test:faults -- [--minutes M] [--seed S]");
  process.exit(64);
}

const SHOWN = 20;

function print(report: Report): void {
  console.log(
    `\nfaults      ${report.faults} (${Object.entries(report.byKind)
      .map(([kind, n]) => `${kind} ${n}`)
      .join(", ")})`,
  );
  console.log(`operations  ${report.operations} on ${report.intents} intents`);
  console.log(
    `redelivery  p50 ${report.redeliveryMs.p50} ms, p99 ${report.redeliveryMs.p99} ms (${report.redeliveryMs.count} after the death of an agent)`,
  );
  console.log(`lost        ${report.lost}`);
  console.log(`violations  ${report.violations.length}`);
  for (const { invariant, intentId, message } of report.violations.slice(0, SHOWN))
    console.log(`  ${invariant} ${intentId ?? ""} ${message}`);
  if (report.evidence !== null) console.log(`evidence    ${report.evidence}`);
  console.log(
    `seed        ${report.seed} (the same plan again: npm run test:faults -- --minutes ${values.minutes} --seed ${report.seed})`,
  );
}

console.log(`seed ${seed}, ${values.minutes} minutes`);
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
await compilePrograms();
const report = await runFaults({
  signal: interrupted.signal,
  seed,
  ms,
  say: values.quiet ? () => undefined : (line) => console.log(line),
  ...(values.distribution === undefined ? {} : { distribution: values.distribution }),
});
print(report);
process.exit(report.violations.length === 0 && report.lost === 0 ? 0 : 1);

// npm run test:faults [-- --minutes M --replicas N --seed S --report DIR]: faults on real processes for as long as asked, and a verdict.

import { parseArgs } from "node:util";
import { compilePrograms } from "../support/programs.ts";
import type { Report } from "./suite/report.ts";
import { GOALS_MS, measureSpeeds, type Quantiles, type Speeds } from "./suite/speeds.ts";
import { runFaults } from "./suite/suite.ts";
import { commandOf, writeReport } from "./suite/written.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    replicas: { type: "string", default: "2" },
    // Plain work beside the rest: more operations, on a machine that can.
    busy: { type: "string", default: "0" },
    // A standby, which takes over in the course of the run.
    standby: { type: "string" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    // Measures redelivery and wake-ups too, and writes all of it there.
    report: { type: "string" },
    distribution: { type: "string", default: "dist" },
    quiet: { type: "boolean", default: false },
  },
});
const ms = Number(values.minutes) * 60_000;
const [seed, replicas, busyLanes] = [values.seed, values.replicas, values.busy].map(Number) as [
  number,
  number,
  number,
];
if (!(ms > 0) || !Number.isInteger(seed) || !(replicas >= 2 && replicas <= 9) || !(busyLanes >= 0)) {
  console.error(
    "usage: npm run test:faults -- [--minutes M] [--replicas 2..9] [--busy LANES] [--standby sync|async] [--seed S] [--report DIR]",
  );
  process.exit(64);
}

const { standby } = values;
if (standby !== undefined && standby !== "sync" && standby !== "async") {
  console.error("--standby is sync or async");
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
  console.log(`grown       ${report.grown.length === 0 ? "nothing" : report.grown.join("; ")}`);
  if (report.evidence !== null) console.log(`evidence    ${report.evidence}`);
  console.log(`seed        ${report.seed} (the same plan again: ${commandOf(report)})`);
}

function printSpeeds({ redelivery, takeover, wakeUp, outcome }: Speeds): void {
  const line = (what: string, { count, p50, p99, max }: Quantiles) =>
    console.log(`${what.padEnd(48)} p50 ${p50} ms, p99 ${p99} ms, max ${max} ms (${count})`);
  console.log("\nwith default settings, three servers:");
  line("kill -9 of an agent → begins in another", redelivery);
  line("a new incarnation of the consumer → begins in it", takeover);
  line("create → handler begins, at another server", wakeUp);
  line("handler ends → waitFor returns, at a third", outcome);
}

console.log(`seed ${seed}, ${values.minutes} minutes, ${replicas} servers`);
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
await compilePrograms();
const report = await runFaults({
  signal: interrupted.signal,
  seed,
  ms,
  replicas,
  busyLanes,
  ...(standby === undefined ? {} : { replication: standby }),
  say: values.quiet ? () => undefined : (line) => console.log(line),
  distribution: values.distribution,
});
print(report);
let sound = report.violations.length === 0 && report.lost === 0 && report.grown.length === 0;
if (values.report !== undefined) {
  const speeds = await measureSpeeds(values.distribution);
  printSpeeds(speeds);
  const name = `faults-${values.minutes}-minutes-${replicas}-servers-seed-${seed}`;
  console.log(`report      ${writeReport(values.report, name, report, speeds)}`);
  sound &&= speeds.redelivery.max < GOALS_MS.redelivery && speeds.takeover.p50 < GOALS_MS.takeover;
}
process.exit(sound ? 0 : 1);

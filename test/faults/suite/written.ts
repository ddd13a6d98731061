// A run on paper: all of it as JSON, and a page that people read.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Report, Run } from "./report.ts";
import type { Sample } from "./samples.ts";
import { GOALS_MS, type Quantiles, type Speeds } from "./speeds.ts";

/** Rows of the tables of memory and sizes. */
const ROWS = 12;
const TABLES = ["ready", "leases", "consumers", "live", "timers", "intents", "events", "steps"];
const MIB = 1_048_576;

/** @returns where the page is */
export function writeReport(directory: string, name: string, report: Report, speeds: Speeds): string {
  mkdirSync(directory, { recursive: true });
  const whole = { ...report, evidence: undefined, speeds };
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(whole, null, 1)}\n`);
  const page = join(directory, `${name}.md`);
  writeFileSync(page, pageOf(name, report, speeds));
  return page;
}

/** The same plan again. */
export function commandOf({ minutes, replicas, busyLanes, replication, seed }: Run): string {
  const options = [
    `--minutes ${minutes} --replicas ${replicas}`,
    ...(busyLanes > 0 ? [`--busy ${busyLanes}`] : []),
    ...(replication === undefined ? [] : [`--standby ${replication}`]),
    `--seed ${seed}`,
  ];
  return `npm run test:faults -- ${options.join(" ")}`;
}

export function pageOf(name: string, report: Report, speeds: Speeds): string {
  const { redeliveryMs } = report;
  const facts: [string, unknown][] = [
    ["faults", report.faults],
    ["operations", report.operations],
    ["intents", report.intents],
    ["lost", report.lost],
    ["violations", report.violations.length],
    ["grown", report.grown.length === 0 ? "nothing" : report.grown.join("; ")],
    [
      "amid the faults, with short leases: an agent died → another was told",
      `p50 ${redeliveryMs.p50} ms, p99 ${redeliveryMs.p99} ms (${redeliveryMs.count})`,
    ],
  ];
  return `# Faults: ${name}

\`${commandOf(report)}\`

${table(["", ""], facts)}
## Waiting, with default settings and three servers

${table(
  ["", "times", "p50", "p99", "max", "goal"],
  [
    speedRow("`kill -9` of an agent → its work begins in another", speeds.redelivery, GOALS_MS.redelivery),
    speedRow("a new incarnation of the same consumer → its work begins", speeds.takeover, GOALS_MS.takeover),
    speedRow("a create at one server → the handler begins, at another", speeds.wakeUp),
    speedRow("the handler ends → `waitFor` returns, at a third", speeds.outcome),
  ],
)}
## Faults by kind

${table(
  ["kind", "times"],
  Object.entries(report.byKind).sort(([, one], [, other]) => other - one),
)}
## Memory of the servers (MiB)

Servers die often here; a dash is one that was dead.

${table(
  ["minute", ...Array.from({ length: report.replicas }, (_, n) => `server ${n}`)],
  spread(report.samples).map(({ atS, rssMib }) => [minuteOf(atS), ...rssMib.map((mib) => mib ?? "–")]),
)}
## Tables: MiB with indexes, and dead rows

Intents, events and steps hold all that was ever done. PostgreSQL forgets its statistics when it is killed.

${table(
  ["minute", ...TABLES],
  spread(report.samples.filter((one) => one.tables !== null)).map(({ atS, tables }) => [
    minuteOf(atS),
    ...TABLES.map((each) => {
      const size = tables?.[each];
      return size === undefined ? "–" : `${(size.bytes / MIB).toFixed(1)} (${size.dead})`;
    }),
  ]),
)}`;
}

const minuteOf = (seconds: number): string => (seconds / 60).toFixed(1);

const speedRow = (what: string, { count, p50, p99, max }: Quantiles, goal?: number): unknown[] => [
  what,
  count,
  ...[p50, p99, max].map((ms) => `${ms} ms`),
  goal === undefined ? "" : `< ${goal} ms`,
];

function spread(samples: readonly Sample[]): Sample[] {
  const step = Math.max(1, samples.length / ROWS);
  return Array.from(
    { length: Math.min(ROWS, samples.length) },
    (_, n) => samples[Math.floor(n * step)],
  ).flatMap((one) => one ?? []);
}

const table = (head: readonly string[], rows: readonly (readonly unknown[])[]): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |\n`).join("");

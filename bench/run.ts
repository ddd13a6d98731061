// `npm run bench`: measures us and our peers side by side on one PostgreSQL, and prints a table for each workload, then the figures that
// the goals are stated in, as `name=value`. docs/performance.md says what each means.

import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openEnv } from "./support/environment.ts";
import { describeCommit, describeMachine } from "./support/machine.ts";
import { installPeers, peerVersions } from "./support/peers.ts";
import { startPostgres } from "./support/postgres.ts";
import { heading, headline, table } from "./support/report.ts";
import { Results } from "./support/results.ts";
import type { BenchEnv, Side } from "./support/workload.ts";
import { WORKLOADS } from "./workloads/index.ts";

const USAGE = `npm run bench -- [--quick] [--only NAME,…] [--rounds N] [--seconds S] [--json FILE]
workloads: ${WORKLOADS.map(({ name, quick }) => `${name}${quick ? "" : " (long form)"}`).join(", ")}`;

/** The short form has to end within five minutes, of which building and stopping take some. */
const QUICK_BUDGET_MS = 255_000;
/** `sideMs`: longest that one side may take in one round; in the long form one holds a transaction open for minutes. */
const FORMS = {
  quick: { rounds: 3, seconds: 2, warmupSeconds: 1, sideMs: 60_000 },
  long: { rounds: 3, seconds: 8, warmupSeconds: 2, sideMs: 1_200_000 },
};

function readCommand() {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      json: { type: "string", default: "bench/results/latest.json" },
      help: { type: "boolean", default: false },
    },
  });
  const form: BenchEnv["form"] = values.quick ? "quick" : "long";
  const names = values.only?.split(",").map((name) => name.trim());
  const unknown = names?.filter((name) => !WORKLOADS.some((workload) => workload.name === name)) ?? [];
  const rounds = Number(values.rounds ?? FORMS[form].rounds);
  const seconds = Number(values.seconds ?? FORMS[form].seconds);
  const wrong = unknown.length > 0 || !(rounds >= 1) || !(seconds > 0);
  if (values.help || wrong) {
    console.log(unknown.length > 0 ? `there is no workload ${unknown.join(", ")}\n${USAGE}` : USAGE);
    process.exit(values.help ? 0 : 2);
  }
  const workloads = WORKLOADS.filter(({ name, quick }) =>
    names === undefined ? quick || form === "long" : names.includes(name),
  );
  const { warmupSeconds } = FORMS[form];
  return { form, workloads, rounds: Math.floor(rounds), seconds, warmupSeconds, json: values.json };
}

/** A side that fails is missing in this round, and the others go on. */
async function measure(side: Side, note: (text: string) => void, sideMs: number) {
  try {
    return await side.measure();
  } catch (error) {
    note(`${side.name} failed: ${String(error instanceof Error ? error.message : error).split("\n")[0]}`);
    return undefined;
  }
}

/** Round by round; further rounds only while one more would end in time. */
async function runRounds(
  sides: readonly Side[],
  rounds: number,
  note: (text: string) => void,
  until: number,
) {
  const results = new Results();
  for (let round = 0; round < rounds; round += 1) {
    const began = Date.now();
    for (const side of sides) results.add(side.name, await measure(side, note));
    if (round + 1 < rounds && Date.now() + (Date.now() - began) > until) {
      note(`only ${round + 1} of ${rounds} rounds: the machine was too slow for more`);
      break;
    }
  }
  return results;
}

const began = Date.now();
const command = readCommand();
const { form, workloads, rounds, seconds, warmupSeconds } = command;
const machine = describeMachine();
const postgres = await startPostgres();
process.once("SIGINT", () => void postgres.stop().finally(() => process.exit(130)));
const peersMissing = await installPeers(console.log);
const run = {
  form,
  at: new Date().toISOString(),
  commit: await describeCommit(),
  rounds,
  seconds,
  machine,
  versions: { node: process.versions.node, postgres: postgres.version, ...(await peerVersions()) },
  postgres_settings: postgres.settings,
};
console.log(heading(run));

const headlines: Record<string, number | undefined> = {};
const measured: unknown[] = [];
for (const [index, workload] of workloads.entries()) {
  const notes: string[] = [];
  const note = (text: string) => void (notes.includes(text) || notes.push(text));
  const env = openEnv({ form, seconds, warmupSeconds, postgres, peersMissing, note });
  const left = began + QUICK_BUDGET_MS - Date.now();
  const until = form === "quick" ? Date.now() + left / (workloads.length - index) : Number.POSITIVE_INFINITY;
  let results = new Results();
  try {
    results = await runRounds(await workload.open(env), rounds, note, until);
  } catch (error) {
    note(`${workload.name} failed: ${String(error instanceof Error ? error.stack : error)}`);
  } finally {
    await env.close();
  }
  Object.assign(headlines, workload.headlines(results));
  console.log(table(workload, results));
  for (const text of notes) console.log(`  ! ${text}`);
  const sides = results.sides.map((side) => ({
    side,
    medians: results.medians(side),
    rounds: results.rounds(side),
  }));
  measured.push({ workload: workload.name, about: workload.about, sides, notes });
}
await postgres.stop();

await mkdir(dirname(command.json), { recursive: true });
await writeFile(command.json, `${JSON.stringify({ ...run, headlines, workloads: measured }, null, 2)}\n`);
console.log(`\n${Math.round((Date.now() - began) / 1_000)} s; all rounds are in ${command.json}\n`);
for (const [name, value] of Object.entries(headlines)) console.log(headline(name, value));

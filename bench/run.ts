// `npm run bench`: measures us and our peers side by side on one PostgreSQL, and prints a table for each workload, then the figures that
// the goals are stated in, as `name=value`. docs/performance.md says what each means.

import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { type OpenEnv, openEnv } from "./support/environment.ts";
import { describeCommit, describeMachine, ownVersion } from "./support/machine.ts";
import { installPeers, peerVersions } from "./support/peers.ts";
import { type Postgres, startPostgres } from "./support/postgres.ts";
import { heading, headline, table } from "./support/report.ts";
import { Results } from "./support/results.ts";
import { type Limits, runRounds } from "./support/rounds.ts";
import type { BenchEnv, Workload } from "./support/workload.ts";
import { WORKLOADS } from "./workloads/index.ts";

const USAGE = `npm run bench -- [--quick] [--only NAME,…] [--rounds N] [--seconds S] [--json FILE]
workloads: ${WORKLOADS.map(({ name, quick }) => `${name}${quick ? "" : " (long form)"}`).join(", ")}`;

/** The short form has to end within five minutes, of which building and stopping take some: what is begun by then, and measured by then. */
const QUICK_BUDGET_MS = 240_000;
const QUICK_DEADLINE_MS = 265_000;
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

type Command = ReturnType<typeof readCommand>;

async function describeRun({ form, rounds, seconds }: Command, postgres: Postgres) {
  return {
    form,
    at: new Date().toISOString(),
    commit: await describeCommit(),
    rounds,
    seconds,
    machine: describeMachine(),
    versions: {
      perdure: await ownVersion(),
      node: process.versions.node,
      postgres: postgres.version,
      ...(await peerVersions()),
    },
    postgres_settings: postgres.settings,
  };
}

/** In the short form each workload has its share of the time that is left. */
function timeOf(form: BenchEnv["form"], began: number, workloadsLeft: number) {
  if (form === "long") return { until: Number.POSITIVE_INFINITY, deadline: Number.POSITIVE_INFINITY };
  const share = (began + QUICK_BUDGET_MS - Date.now()) / workloadsLeft;
  return { until: Date.now() + share, deadline: began + QUICK_DEADLINE_MS };
}

/** Sets it up, measures it, takes it down, prints its table. */
async function runWorkload(workload: Workload, env: OpenEnv, limits: Limits) {
  let results = new Results();
  try {
    results = await runRounds(await workload.open(env), limits, env.note);
  } catch (error) {
    env.note(`${workload.name} failed: ${String(error instanceof Error ? error.stack : error)}`);
  }
  await env.close();
  console.log(table(workload, results));
  for (const note of env.notes) console.log(`  ! ${note}`);
  return results;
}

async function main(): Promise<void> {
  const began = Date.now();
  const command = readCommand();
  const { form, workloads, rounds, json } = command;
  const postgres = await startPostgres();
  let env: OpenEnv | undefined;
  const stopAll = async () => {
    await env?.close();
    await postgres.stop();
  };
  // What was started has to end, also when somebody has no patience, or we made a mistake.
  const abandon = (code: number) => void stopAll().finally(() => process.exit(code));
  process.on("SIGINT", () => abandon(130)).on("SIGTERM", () => abandon(143));
  process.on("uncaughtException", (error) => {
    console.error(error);
    abandon(1);
  });

  const peersMissing = await installPeers(console.log);
  const run = await describeRun(command, postgres);
  console.log(heading(run));
  const headlines: Record<string, number | undefined> = {};
  const measured: unknown[] = [];
  for (const [index, workload] of workloads.entries()) {
    env = openEnv({ ...command, postgres, peersMissing });
    const limits = { rounds, sideMs: FORMS[form].sideMs, ...timeOf(form, began, workloads.length - index) };
    const results = await runWorkload(workload, env, limits);
    Object.assign(headlines, workload.headlines(results));
    const { name, about } = workload;
    measured.push({ workload: name, about, sides: results.toJSON(), notes: env.notes });
  }
  await stopAll();

  await mkdir(dirname(json), { recursive: true });
  await writeFile(json, `${JSON.stringify({ ...run, headlines, workloads: measured }, null, 2)}\n`);
  console.log(`\n${Math.round((Date.now() - began) / 1_000)} s; all rounds are in ${json}\n`);
  for (const [name, value] of Object.entries(headlines)) console.log(headline(name, value));
}

await main();

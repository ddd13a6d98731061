// What PostgreSQL itself gives here: pgbench with the smallest SQL a durable job could consist of. `insert` is one row of
// 550 bytes, one commit; `lifecycle` that row and three updates of it, four commits. Without pgbench the same SQL goes through
// the pg driver, and the result says `substitute: true`: a driver in Node costs more than pgbench does.

import "./support/runtime.mjs";
import { accessSync, constants } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import pg from "pg";
import { startProcess } from "./support/children.mjs";
import { endedChildrenCpu } from "./support/cpu.mjs";
import { closedLoop, figures } from "./support/measure.mjs";
import { reportRun } from "./support/peer.mjs";
import { installedVersion } from "./support/versions.mjs";

// No colon in it: pgbench would take it for a variable.
const ROW = "a durable job and what it has to do ".repeat(16).slice(0, 550);

const TABLE = `CREATE TABLE jobs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state smallint NOT NULL DEFAULT 0, body text NOT NULL
) WITH (fillfactor = 70)`;
const INSERT = "INSERT INTO jobs (body) VALUES";
const UPDATE = "UPDATE jobs SET state = state + 1 WHERE id =";

const SCRIPTS = {
  insert: `${INSERT} ('${ROW}');\n`,
  lifecycle: `${INSERT} ('${ROW}') RETURNING id \\gset\n${`${UPDATE} :id;\n`.repeat(3)}`,
};

function pgbenchFile() {
  for (const directory of ["/usr/bin", ...(process.env.PATH ?? "").split(delimiter)]) {
    const file = join(directory, "pgbench");
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not there: the next one.
    }
  }
  return null;
}

async function output(file, args) {
  const child = startProcess(file, args, { capture: true });
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  const code = await new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
  if (code !== 0) throw new Error(`${file} ended with ${code}: ${text}`);
  return text;
}

/** Latencies in milliseconds from the transaction logs that pgbench has written. */
async function readSamples(directory) {
  const logs = (await readdir(directory)).filter((name) => name.startsWith("log"));
  const texts = await Promise.all(logs.map((name) => readFile(join(directory, name), "utf8")));
  return texts.flatMap((text) =>
    text
      .split("\n")
      .filter(Boolean)
      .map((line) => Number(line.split(" ")[2]) / 1000),
  );
}

async function byPgbench(file, { workload, inFlight, seconds, warmup }, database) {
  const directory = await mkdtemp(join(tmpdir(), "bench-ceiling-"));
  try {
    const script = join(directory, "script.sql");
    await writeFile(script, SCRIPTS[workload]);
    const threads = Math.min(inFlight, availableParallelism());
    const round = (duration, ...more) =>
      output(file, [
        ...["--no-vacuum", "--protocol=prepared", `--client=${inFlight}`, `--jobs=${threads}`, `--file=${script}`],
        ...[`--time=${Math.max(1, Math.round(duration))}`, ...more, database.url],
      ]);
    if (warmup > 0) await round(warmup);
    const [postgres, client] = [database.cpu(), endedChildrenCpu()];
    const text = await round(seconds, "--log", "--sampling-rate=0.05", `--log-prefix=${join(directory, "log")}`);
    const completed = Number(/transactions actually processed: (\d+)/.exec(text)?.[1]);
    const perSecond = Number(/tps = ([\d.]+)/.exec(text)?.[1]);
    const used = (before, after) => (before === null || after === null ? null : Number((after - before).toFixed(2)));
    const cpu = { client_s: used(client, endedChildrenCpu()), server_s: used(postgres, database.cpu()) };
    return {
      version: (await output(file, ["--version"])).trim(),
      ...figures({ completed, seconds: completed / perSecond, samples: await readSamples(directory), cpu }),
      substitute: false,
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function byDriver({ workload, inFlight, seconds, warmup }, database) {
  const pool = new pg.Pool({ connectionString: database.url, max: inFlight });
  const insert = { name: "insert", text: `${INSERT} ($1) RETURNING id`, values: [ROW] };
  const runJob = async () => {
    const client = await pool.connect();
    try {
      const { rows } = await client.query(insert);
      if (workload === "insert") return;
      for (let update = 1; update <= 3; update += 1) {
        await client.query({ name: "update", text: `${UPDATE} $1`, values: [rows[0].id] });
      }
    } finally {
      client.release();
    }
  };
  const readCpu = () => {
    const { user, system } = process.cpuUsage();
    return { client_s: (user + system) / 1e6, server_s: database.cpu() };
  };
  try {
    const measured = await closedLoop({ inFlight, seconds, warmup, readCpu, runJob });
    return { version: `pg ${installedVersion("pg")}`, ...measured, substitute: true };
  } finally {
    await pool.end();
  }
}

await reportRun({
  peer: "ceiling",
  workloads: ["insert", "lifecycle"],
  settings: { best: { pgbench: true }, driver: { pgbench: false } },
  async measureOn(database, command, setting) {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query(TABLE);
    await client.end();
    const file = setting.pgbench ? pgbenchFile() : null;
    if (setting.pgbench && file === null) console.error("pgbench is not installed: the pg driver stands in for it");
    return file === null ? byDriver(command, database) : byPgbench(file, command, database);
  },
});

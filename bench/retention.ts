// What removing ended intents costs those at work: throughput and latency while a backlog of expired intents is swept, against the same
// load before and after. Each removed intent has four steps and their events.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { PerdureClient } from "@perdure/sdk";
import pg from "pg";
import { quantile } from "./support/results.ts";
import { withServer } from "./support/server.ts";

const BACKLOG = Number(process.env.BACKLOG ?? 30_000);
const IN_FLIGHT = Number(process.env.IN_FLIGHT ?? 32);
const ADDRESS = "agent://bench/retention/echo";
/** After the sweep, for as long as before it. */
const QUIET_WINDOWS = 15;

interface Window {
  readonly expired: number;
  readonly done: number;
  readonly latencies: readonly number[];
}

const databaseUrl = async (dataDir: string): Promise<string> => {
  const read = async (name: string) => (await readFile(join(dataDir, "postgres", name), "utf8")).trim();
  return `postgres://postgres:${encodeURIComponent(await read("password"))}@127.0.0.1:${await read("port")}/perdure`;
};

const TABLES = {
  intents: "id",
  intent_data: "id",
  outcomes: "intent_id",
  events: "intent_id",
  steps: "intent_id",
};

/** Copies one finished intent many times, and lets the copies be over. */
async function makeBacklog(db: pg.Client, id: string): Promise<void> {
  await db.query(
    "create temp table copies as select gen_random_uuid() as copy from generate_series(1, $1::int)",
    [BACKLOG],
  );
  for (const [table, key] of Object.entries(TABLES))
    await db.query(
      `insert into ${table} select r.* from copies, ${table} t,
        lateral jsonb_populate_record(t, jsonb_build_object('${key}', copy)) r where t.${key} = $1`,
      [id],
    );
  await db.query(
    "update outcomes set expires_at = now() - interval '1 hour' from copies where intent_id = copy",
  );
}

async function countExpired(db: pg.Client): Promise<number> {
  const { rows } = await db.query("select count(*)::int as n from outcomes where expires_at <= now()");
  return rows[0].n;
}

/** Keeps `IN_FLIGHT` intents going until told to stop; a window each second. */
async function load(client: PerdureClient, db: pg.Client, until: (windows: readonly Window[]) => boolean) {
  let latencies: number[] = [];
  let stopped = false;
  const one = async () => {
    while (!stopped) {
      const began = performance.now();
      await client.waitFor(
        await client.sendIntent({ intentType: "bench.v1", toAgent: ADDRESS, payload: {} }),
      );
      latencies.push(performance.now() - began);
    }
  };
  const all = Promise.all(Array.from({ length: IN_FLIGHT }, one));
  const windows: Window[] = [];
  while (!until(windows)) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const collected = latencies;
    latencies = [];
    windows.push({ expired: await countExpired(db), done: collected.length, latencies: collected });
  }
  stopped = true;
  await all;
  return windows;
}

function report(name: string, windows: readonly Window[]): number {
  const perSecond = quantile(
    windows.map((one) => one.done),
    0.5,
  );
  const latencies = windows.flatMap((one) => one.latencies);
  console.log(`${name}_windows=${windows.length}`);
  console.log(`${name}_intents_per_second=${perSecond.toFixed(0)}`);
  console.log(`${name}_p50_ms=${quantile(latencies, 0.5).toFixed(1)}`);
  console.log(`${name}_p99_ms=${quantile(latencies, 0.99).toFixed(1)}`);
  return perSecond;
}

async function measure(baseUrl: string, dataDir: string): Promise<void> {
  const db = new pg.Client({ connectionString: await databaseUrl(dataDir) });
  await db.connect();
  const client = new PerdureClient({ baseUrl, logger: false });
  const agent = client.listen<{ steps?: boolean }>(
    ADDRESS,
    async (ctx) => {
      if (ctx.payload.steps) for (const key of ["a", "b", "c", "d"]) await ctx.step(key, () => ({ key }));
      return { ok: true };
    },
    { handleSignals: false, capacity: IN_FLIGHT },
  );
  await agent.ready;
  const template = await client.sendIntent({
    intentType: "bench.v1",
    toAgent: ADDRESS,
    payload: { steps: true },
  });
  await client.waitFor(template);
  await makeBacklog(db, template);
  // The sweep begins within a minute; what comes before it is the comparison, and so is what comes after it.
  const windows = await load(
    client,
    db,
    (so) => so.filter((one) => one.expired === 0).length >= QUIET_WINDOWS,
  );
  await agent.stop();
  await client.close();
  await db.end();
  const isSwept = (window: Window, index: number) => {
    const before = windows[index - 1]?.expired ?? BACKLOG;
    return window.expired < before;
  };
  // The first windows warm up.
  const warm = windows.slice(5);
  const busy = warm.filter((window, index) => isSwept(window, index + 5));
  const removed = (windows[4]?.expired ?? 0) / Math.max(busy.length, 1);
  const quiet = report(
    "without",
    warm.filter((window, index) => !isSwept(window, index + 5)),
  );
  const swept = report("sweeping", busy);
  console.log(`removed_per_second=${removed.toFixed(0)}`);
  console.log(`throughput_while_sweeping_pct=${((swept / quiet) * 100).toFixed(0)}`);
}

await withServer(measure);

// How long users wait, with the settings that a server has when nobody sets any: for work whose agent was killed to run elsewhere,
// and for word of new and of finished work when everybody is at another replica.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PerdureClient } from "@perdure/sdk";
import { startEmbeddedPostgres } from "../../../server/postgres/embedded.ts";
import { compiled, serverIn } from "../../support/programs.ts";
import { until } from "../../support/until.ts";
import { endAll, freePort, type Process, startProgram } from "../processes.ts";
import { adoptDatabase, forgetDatabase } from "../reaper.ts";

export interface Quantiles {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface Speeds {
  /** `kill -9` of an agent → its intent's handler begins in another agent, at another server. */
  readonly redelivery: Quantiles;
  /** A new incarnation of the same consumer starts to listen → the handler begins in it. */
  readonly takeover: Quantiles;
  /** A create at one server → the handler begins in an agent at another. */
  readonly wakeUp: Quantiles;
  /** The handler ends → `waitFor` returns at a third server. */
  readonly outcome: Quantiles;
}

export const GOALS_MS = { redelivery: 3_000, takeover: 300 } as const;

const DEATHS = 8;
const WAKE_UPS = 200;
/** Longer than anybody measures. */
const HELD_MS = 600_000;
const PATIENCE_MS = 60_000;

export async function measureSpeeds(distribution: string): Promise<Speeds> {
  const directory = await mkdtemp(join(tmpdir(), "perdure-speeds-"));
  adoptDatabase(directory, [directory]);
  const postgres = await startEmbeddedPostgres({ dataDir: directory });
  if (postgres.dataDir !== directory) adoptDatabase(postgres.dataDir, [postgres.dataDir]);
  try {
    const servers: string[] = [];
    for (let n = 0; n < 3; n += 1) servers.push(await startDefault(distribution, postgres.url));
    const [a = "", b = "", c = ""] = servers;
    const redelivery = await times(DEATHS, (n) => dieAndRunElsewhere(`redelivery-${n}`, a, b));
    const takeover = await times(DEATHS, (n) => dieAndComeBack(`takeover-${n}`, a, b));
    return { redelivery, takeover, ...(await sendAndWait(a, b, c)) };
  } finally {
    await endAll();
    await postgres.stop();
    for (const home of new Set([directory, postgres.dataDir])) {
      await rm(home, { recursive: true, force: true });
      forgetDatabase(home);
    }
  }
}

async function startDefault(distribution: string, databaseUrl: string): Promise<string> {
  const port = await freePort();
  const server = startProgram([serverIn(distribution)], {
    DATABASE_URL: databaseUrl,
    HOST: "127.0.0.1",
    PORT: String(port),
    PERDURE_LOG_LEVEL: "info",
  });
  await server.says("listens on");
  return `http://127.0.0.1:${port}`;
}

const now = () => performance.timeOrigin + performance.now();
const startAgent = (url: string, address: string, consumer?: string): Process =>
  startProgram([compiled("test/faults/fixtures/timed-agent.ts")], {
    SERVER_URL: url,
    AGENT_ADDRESS: address,
    ...(consumer === undefined ? {} : { CONSUMER: consumer }),
  });

/** When the process said so, by the clock that all processes here share. */
function saidAt(process: Process, what: string, mark: string): Promise<number> {
  const told = new RegExp(`${what} ${mark} ([\\d.]+);`);
  return until(
    `the agent ${what} ${mark}`,
    () => {
      const [, at] = told.exec(process.output) ?? [];
      return at === undefined ? undefined : Number(at);
    },
    PATIENCE_MS,
  );
}

async function hold(name: string, url: string): Promise<void> {
  const client = new PerdureClient({ baseUrl: url, logger: false });
  await client.sendIntent({ intentType: "held.v1", toAgent: name, payload: { mark: name, ms: HELD_MS } });
}

async function dieAndRunElsewhere(name: string, a: string, b: string): Promise<number> {
  const first = startAgent(a, name);
  await saidAt(first, "listens", "agent");
  await hold(name, b);
  await saidAt(first, "began", name);
  const second = startAgent(b, name);
  await saidAt(second, "listens", "agent");
  const died = now();
  first.kill("SIGKILL");
  const began = await saidAt(second, "began", name);
  second.kill("SIGKILL");
  await second.over;
  return began - died;
}

async function dieAndComeBack(name: string, a: string, b: string): Promise<number> {
  const first = startAgent(a, name, name);
  await saidAt(first, "listens", "agent");
  await hold(name, b);
  await saidAt(first, "began", name);
  first.kill("SIGKILL");
  await first.over;
  const second = startAgent(b, name, name);
  const appeared = await saidAt(second, "appeared", "agent");
  const began = await saidAt(second, "began", name);
  second.kill("SIGKILL");
  await second.over;
  return began - appeared;
}

async function sendAndWait(a: string, b: string, c: string): Promise<Pick<Speeds, "wakeUp" | "outcome">> {
  const agent = startAgent(b, "wake");
  await saidAt(agent, "listens", "agent");
  const sender = new PerdureClient({ baseUrl: a, logger: false });
  const waiter = new PerdureClient({ baseUrl: c, logger: false });
  const [wakeUps, outcomes]: [number[], number[]] = [[], []];
  for (let n = 0; n < WAKE_UPS; n += 1) {
    const mark = `wake-${n}`;
    const sent = now();
    // Long enough for the waiter to be waiting when it ends.
    const id = await sender.sendIntent({ intentType: "wake.v1", toAgent: "wake", payload: { mark, ms: 50 } });
    await waiter.waitFor(id);
    const returned = now();
    wakeUps.push((await saidAt(agent, "began", mark)) - sent);
    outcomes.push(returned - (await saidAt(agent, "ended", mark)));
  }
  return { wakeUp: quantilesOf(wakeUps), outcome: quantilesOf(outcomes) };
}

async function times(count: number, measure: (n: number) => Promise<number>): Promise<Quantiles> {
  const measured: number[] = [];
  for (let n = 0; n < count; n += 1) measured.push(await measure(n));
  return quantilesOf(measured);
}

export function quantilesOf(times: readonly number[]): Quantiles {
  const sorted = [...times].sort((one, other) => one - other);
  const at = (q: number) =>
    Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0) * 10) / 10;
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

// An upgrade in the middle of the work: two old servers, then a new one beside them, and in the end only new ones. Where the newer
// schema does not allow it, the new one has to say so and leave the old ones alone until they have ended.

import type { Violation } from "../../../server/verify/log-rules.ts";
import { verifyDatabase } from "../../../server/verify/verify.ts";
import type { Final } from "../../judge/finals.ts";
import { type Exchange, type Line, readHistory } from "../../judge/history.ts";
import { violation } from "../../judge/verdict.ts";
import { readFinals } from "../suite/finals.ts";
import { type Report, report } from "../suite/report.ts";
import { giveAll, mend, probe, settle } from "../suite/settle.ts";
import { sleep, waitFor } from "../suite/waiting.ts";
import { openWorld, type Part, type World } from "../suite/world.ts";
import { carryOver, finishCarried } from "./carried.ts";

export interface UpgradeOptions {
  /** Where the compiled servers and programs are. */
  readonly older: string;
  readonly newer: string;
  readonly ms: number;
  readonly seed: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface Upgraded extends Report {
  /** Old and new served at the same time. */
  readonly beside: boolean;
  /** From the new server's start until it served, or until it said that it may not. */
  readonly newcomerMs: number;
  /** The longest answer to a create in that time. */
  readonly longestCreateMs: number;
  /** Answers of 500 and more, 503 apart. */
  readonly failures: number;
}

/** As in production, but for what is looked for often: no lease may end because this machine is slow. */
const SETTINGS = {
  PERDURE_HEARTBEAT_INTERVAL_MS: "3000",
  PERDURE_LEASE_TTL_MS: "45000",
  PERDURE_RECONNECT_GRACE_MS: "4000",
  PERDURE_RESTART_GRACE_MS: "45000",
};
const SERVERS = 3;
const LANES = 8;
const START_MS = 60_000;
const DRAIN_MS = 90_000;

const REFUSED = "cannot be made while older servers work";
const TOO_OLD = "which this build does not know";

interface Fleet {
  readonly world: World;
  readonly say: (line: string) => void;
  /** What starts next in the place of a part. */
  readonly newer: Set<Part>;
}

const nth = <T>(list: readonly T[], n: number): T => {
  const one = list[n];
  if (one === undefined) throw new Error(`there is no number ${n}`);
  return one;
};

const isReady = async (url: string): Promise<boolean> => (await fetch(`${url}/ready`)).ok;
const serves = (world: World, n: number): Promise<void> =>
  waitFor(`server ${n} serves`, START_MS, () => isReady(nth(world.serverUrls, n)));

/** Where the clients behind a wire go with their next connection, as a balancer would send them. */
function route({ agentWires, serverUrls }: World, wire: number, server: number): void {
  nth(agentWires, wire).target = { host: "127.0.0.1", port: Number(new URL(nth(serverUrls, server)).port) };
}

export async function runUpgrade(options: UpgradeOptions): Promise<Upgraded> {
  const { older, newer: now, ms, seed, say } = options;
  const newer = new Set<Part>();
  const servers: Part[] = [];
  const world = await openWorld({
    seed,
    servers: SERVERS,
    lanes: LANES,
    busyLanes: 0,
    replication: undefined,
    schema: "of the servers",
    settings: SETTINGS,
    distribution: (n) => `${n === 2 || newer.has(servers[n] as Part) ? now : older}`,
    programs: (part) => (newer.has(part) ? now : older),
    // Two servers that start at once make the schema together; the third is the new one. Nobody restores: what waits is to wait on.
    later: (part) => part.role === "operator" || (part.role === "server" && part.number === 2),
  });
  servers.push(...world.servers);
  options.signal.addEventListener("abort", () => void world.end().finally(() => process.exit(130)));
  try {
    route(world, 2, 0);
    nth(world.agentWires, 2).reset();
    const fleet = { world, say, newer };
    await waitFor("the agents are at work", START_MS, async () => (await stepsDone(world)) > 0);
    say("two old servers, their agents at work");
    await sleep(ms * 0.2);
    const carried = await carryOver(nth(world.serverUrls, 0));
    const newcomer = await startNewcomer(fleet);
    const death = await killAgent(fleet);
    await (newcomer.beside ? rollOver : replaceAll)(fleet, ms * 0.2);
    await changeInitiator(fleet);
    const left = await finishCarried(nth(world.serverUrls, 2), carried);
    await sleep(ms * 0.2);
    await world.initiator.end();
    await mend(world);
    await settle(world, DRAIN_MS);
    const strays = (await verifyDatabase(world.postgres.url)).violations;
    await giveAll(world, DRAIN_MS, seed);
    await probe(world);
    const finals = await readFinals(world);
    const history = world.historyFiles.flatMap(readHistory);
    const found = [...strays, ...left, ...judgeLosses(history, finals, death.client)];
    const run = { seed, replicas: SERVERS, minutes: ms / 60_000, busyLanes: 0, replication: undefined };
    const played = { faults: [], deaths: [death] };
    return {
      ...(await report(world, played, { ...run, samples: [] }, found)),
      beside: newcomer.beside,
      newcomerMs: newcomer.until - newcomer.at,
      longestCreateMs: longestCreate(history, newcomer),
      failures: history.filter(isFailure).length,
    };
  } finally {
    await world.end();
  }
}

async function stepsDone(world: World): Promise<number> {
  const [row] = await world.query<{ done: number }>(
    "select count(*)::int as done from events where type = 'intent.step_done'",
  );
  return row?.done ?? 0;
}

interface Newcomer {
  readonly at: number;
  readonly until: number;
  readonly beside: boolean;
}

/** It migrates while the old ones work, or says that it may not. */
async function startNewcomer({ world, say }: Fleet): Promise<Newcomer> {
  const newcomer = nth(world.servers, 2);
  const at = Date.now();
  newcomer.start();
  let beside = false;
  await waitFor("the new server serves or refuses", START_MS, async () => {
    if (newcomer.output.includes(REFUSED)) return true;
    beside = await isReady(nth(world.serverUrls, 2));
    return beside;
  }).catch((cause) => {
    throw new Error(`its last words: ${newcomer.output}`, { cause });
  });
  const until = Date.now();
  say(
    `a new server ${beside ? "serves beside them" : "refuses to start beside them"} after ${until - at} ms`,
  );
  await goesOn(world);
  return { at, until, beside };
}

const goesOn = async (world: World): Promise<void> => {
  const before = await stepsDone(world);
  await waitFor("work goes on", START_MS, async () => (await stepsDone(world)) > before);
};

/** Its successor is a newer program. */
async function killAgent({ world, say, newer }: Fleet) {
  const agent = nth(world.agents, 2);
  newer.add(agent);
  say("kill -9 of an agent; the next one has the new SDK");
  const death = { at: Date.now(), client: "agent2" };
  await agent.keepAway(500);
  return death;
}

/** Old and new side by side, one old server killed, the other one stopped as one stops servers. */
async function rollOver({ world, say, newer }: Fleet, whileMs: number): Promise<void> {
  route(world, 2, 2);
  nth(world.agentWires, 2).reset();
  say("clients spread over old and new");
  await sleep(whileMs);
  const [stopped, killed] = [nth(world.servers, 0), nth(world.servers, 1)];
  route(world, 1, 2);
  killed.output = "";
  killed.signal("SIGKILL");
  await waitFor("the old one refuses the newer schema", START_MS, async () =>
    killed.output.includes(TOO_OLD),
  );
  say("kill -9 of an old server: started again, it refuses the newer schema");
  newer.add(killed);
  await serves(world, 1);
  route(world, 1, 1);
  await sleep(whileMs);
  newer.add(stopped);
  // As behind a balancer: whoever is sent off finds another server.
  route(world, 0, 2);
  const before = stopped.pid;
  stopped.signal("SIGTERM");
  await waitFor("the last old server has ended", START_MS, async () => stopped.pid !== before);
  await serves(world, 0);
  route(world, 0, 0);
  say("the last old server was stopped, and a new one is in its place");
}

/** The new one waits outside until the old ones have ended; killing one of them changes nothing about that. */
async function replaceAll({ world, say, newer }: Fleet, whileMs: number): Promise<void> {
  const [first, second] = [nth(world.servers, 0), nth(world.servers, 1)];
  // As behind a balancer: whoever was there finds the other one, well before its lease ends.
  route(world, 1, 0);
  const before = second.pid;
  second.signal("SIGKILL");
  await waitFor("the killed server has ended", START_MS, async () => second.pid !== before);
  await serves(world, 1);
  route(world, 1, 1);
  say("kill -9 of an old server: it is back");
  await sleep(whileMs);
  await goesOn(world);
  for (const part of [first, second]) newer.add(part);
  for (const part of [first, second]) part.signal("SIGTERM");
  for (let n = 0; n < SERVERS; n += 1) await serves(world, n);
  route(world, 2, 2);
  nth(world.agentWires, 2).reset();
  say("the old servers were stopped, and three new ones are in their place");
}

/** The next one repeats, with the same keys, what its predecessor was not answered. */
async function changeInitiator({ world, newer }: Fleet): Promise<void> {
  newer.add(world.initiator);
  await world.initiator.keepAway(100);
}

/** Only one agent has died: whatever another one held was not to be lost by the upgrade. */
function judgeLosses(history: readonly Line[], finals: readonly Final[], died: string): Violation[] {
  const holders = new Map<string, string>();
  for (const line of history)
    if (line.kind === "told") holders.set(`${line.intentId} ${line.attempt}`, line.client);
  return finals.flatMap(({ id, events }) =>
    events.flatMap(({ type, attempt }) => {
      const holder = holders.get(`${id} ${attempt}`);
      if (type !== "lost" || holder === undefined || holder === died) return [];
      return [violation("I12", id, `attempt ${attempt} of ${holder}, which lives, was lost`)];
    }),
  );
}

/** 503 asks to come again, which clients do. */
const isFailure = (line: Line): boolean =>
  line.kind === "exchange" && line.status !== null && line.status >= 500 && line.status !== 503;

function longestCreate(history: readonly Line[], { at, until }: Newcomer): number {
  const creates = history.filter(
    (line): line is Exchange & { until: number } =>
      line.kind === "exchange" &&
      line.path === "/v1/intents" &&
      line.status === 200 &&
      line.until !== null &&
      line.until >= at &&
      line.at <= until,
  );
  return Math.max(0, ...creates.map((line) => line.until - line.at));
}

// Plays a plan of faults on a world at work, mends everything, lets the work drain, and has the histories judged.

import type { Violation } from "../../../server/verify/log-rules.ts";
import { verifyDatabase } from "../../../server/verify/verify.ts";
import { type Line, readHistory, type Told } from "../../judge/history.ts";
import { type Final, type FinalVersion, judge, judgeDrained } from "../../judge/judge.ts";
import { describeFault, type Fault, type Planned, planFaults } from "./plan.ts";
import { openWorld, type World } from "./world.ts";

export interface SuiteOptions {
  readonly seed: number;
  readonly ms: number;
  readonly say: (line: string) => void;
  /** Where the built server is; the mutants have one of their own. */
  readonly distribution?: string;
  /** Ends the world early: whoever runs it from a terminal may be interrupted. */
  readonly signal?: AbortSignal;
}

export interface Report {
  readonly seed: number;
  readonly faults: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly operations: number;
  readonly intents: number;
  readonly lost: number;
  readonly violations: readonly Violation[];
  /** From the death of an agent to the frame that gives its intent to the next. */
  readonly redeliveryMs: { readonly count: number; readonly p50: number; readonly p99: number };
}

const DRAIN_MS = 90_000;
const PROBE_MS = 30_000;
const PLACES = ["wrapped", "declared", "far"];

export async function runFaults(options: SuiteOptions): Promise<Report> {
  const plan = planFaults(options.seed, options.ms);
  const world = await openWorld(options.seed, options.distribution ?? "dist");
  options.signal?.addEventListener("abort", () => void world.end().finally(() => process.exit(130)));
  try {
    await waitFor("the agents are at work", 60_000, async () => {
      const [row] = await world.query<{ done: number }>(
        "select count(*)::int as done from events where type = 'intent.step_done'",
      );
      return (row?.done ?? 0) > 0;
    });
    const deaths = await play(world, plan, options.ms, options.say);
    await world.initiator.end();
    await mend(world);
    await drain(world, DRAIN_MS);
    await probe(world);
    return await report(world, plan, deaths, options.seed);
  } finally {
    await world.end();
  }
}

interface Death {
  readonly at: number;
  readonly client: string;
}

async function play(
  world: World,
  plan: readonly Planned[],
  ms: number,
  say: (line: string) => void,
): Promise<Death[]> {
  const began = performance.now();
  const deaths: Death[] = [];
  const running: Promise<void>[] = [];
  for (const { atMs, fault } of plan) {
    await sleepUntil(began + atMs);
    say(`${(atMs / 1000).toFixed(1).padStart(7)} s  ${describeFault(fault)}`);
    if (fault.kind === "kill agent" || fault.kind === "stop agent")
      deaths.push({ at: Date.now(), client: `agent${fault.which}` });
    running.push(inflict(world, fault).catch((error) => say(`           ${String(error)}`)));
  }
  await sleepUntil(began + ms);
  await Promise.all(running);
  return deaths;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
const sleepUntil = (at: number) => sleep(at - performance.now());

async function inflict(world: World, fault: Fault): Promise<void> {
  switch (fault.kind) {
    case "kill agent":
      return await world.agents[fault.which]?.keepAway(fault.awayMs);
    case "kill initiator":
      return await world.initiator.keepAway(fault.awayMs);
    case "kill server":
      return await world.servers[fault.which]?.keepAway(fault.awayMs);
    case "stop agent": {
      const agent = world.agents[fault.which];
      agent?.signal("SIGSTOP");
      await sleep(fault.awayMs);
      agent?.signal("SIGCONT");
      return;
    }
    case "crash server": {
      const server = world.servers[fault.which];
      if (server === undefined) return;
      server.crashPoint = `${fault.point}:${fault.nth}`;
      return await server.keepAway(0);
    }
    case "kill postgres":
      process.kill(world.postgres.pid, "SIGKILL");
      return;
    case "terminate backends":
      await world.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'perdure' and random() < $1",
        [fault.share],
      );
      return;
    case "lose notifications":
      await world.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'perdure-listen'",
      );
      return;
    case "kill server behind a slow database": {
      const wire = world.databaseWire;
      wire.delay(fault.delayMs);
      // Long enough for requests to arrive and wait for their commits.
      await sleep(fault.delayMs * 3);
      // What was on its way to the database never gets there.
      wire.blackhole();
      const back = world.servers[fault.which]?.keepAway(fault.awayMs);
      wire.pass();
      return await back;
    }
    case "clock jump":
      await world.query(
        "update test_clock set wrong_by = wrong_by + make_interval(secs => $1::float8 / 1000)",
        [fault.ms],
      );
      return;
    case "agent network":
    case "database network": {
      const wire = fault.kind === "agent network" ? world.agentWires[fault.which] : world.databaseWire;
      if (wire !== undefined) wire.mode = fault.fault;
      await sleep(fault.awayMs);
      wire?.pass();
    }
  }
}

/** Everything works again: what is open now has to end by itself. */
async function mend(world: World): Promise<void> {
  for (const wire of [...world.agentWires, world.databaseWire]) wire.pass();
  for (const part of [...world.servers, ...world.agents]) {
    part.signal("SIGCONT");
    part.start();
  }
}

const OPEN = "status not in ('COMPLETED', 'FAILED', 'CANCELED', 'TIMED_OUT', 'WAITING')";

async function drain(world: World, ms: number): Promise<void> {
  await waitFor("everything is over", ms, async () => {
    const rows = await world.query<{ id: string; paused: boolean }>(
      `select id, paused from intents where ${OPEN} limit 1000`,
    );
    const paused = rows.filter((row) => row.paused);
    // Whoever paused them died before it could say go on.
    await Promise.all(paused.map(({ id }) => unpause(world, id)));
    return rows.length === 0;
  }).catch(() => undefined);
}

/**
 * Healed means that new work flows again: from every server to every address. One server after the other, the one that
 * nobody hears of last: what the second one's agents get from it, they get by the poll alone.
 */
async function probe(world: World): Promise<void> {
  for (const url of [...world.serverUrls].reverse()) {
    for (const place of PLACES) {
      const payload = { mark: `probe ${url} ${place}`, steps: 1, ms: 0 };
      await post(`${url}/v1/intents`, {
        intent_type: "probe.v1",
        to_agent: `agent://faults/test/${place}`,
        payload,
      });
    }
    await drain(world, PROBE_MS);
  }
}

const unpause = (world: World, id: string): Promise<void> =>
  post(`${world.serverUrls[0]}/v1/intents/${id}/unpause`, {});

async function post(url: string, body: object): Promise<void> {
  const headers = { "content-type": "application/json" };
  await fetch(url, { method: "POST", body: JSON.stringify(body), headers }).catch(() => undefined);
}

async function waitFor(what: string, ms: number, condition: () => Promise<boolean>): Promise<void> {
  const until = performance.now() + ms;
  for (;;) {
    if (await condition().catch(() => false)) return;
    if (performance.now() > until) throw new Error(`waited ${ms} ms in vain until ${what}`);
    await sleep(200);
  }
}

async function report(
  world: World,
  plan: readonly Planned[],
  deaths: readonly Death[],
  seed: number,
): Promise<Report> {
  const finals = await readFinals(world);
  const history = world.historyFiles.flatMap(readHistory);
  const state = await world.query<FinalVersion>("select scope, key, version, value from state_versions");
  const judgement = judge(history, finals, state);
  const verified = await verifyDatabase(world.postgres.url);
  const byKind: Record<string, number> = {};
  for (const { fault } of plan) byKind[fault.kind] = (byKind[fault.kind] ?? 0) + 1;
  return {
    seed,
    faults: plan.length,
    byKind,
    operations: judgement.operations,
    intents: finals.length,
    lost: judgement.lost,
    violations: [...judgement.violations, ...judgeDrained(finals), ...verified.violations],
    redeliveryMs: redeliveries(history, deaths),
  };
}

async function readFinals(world: World): Promise<Final[]> {
  const intents = await world.query(
    `select i.id, i.status, i.attempt, i.strikes, i.max_delivery_attempts, d.payload, o.result
      from intents i join intent_data d on d.id = i.id left join outcomes o on o.intent_id = i.id`,
  );
  const events = await world.query(
    "select intent_id, seq, type, status, attempt, details from events order by intent_id, seq",
  );
  const steps = await world.query("select intent_id, key, status, result from steps");
  const eventsOf = groupByIntent(events);
  const stepsOf = groupByIntent(steps);
  return intents.map((row) => ({
    id: row.id,
    status: row.status,
    attempt: row.attempt,
    lostDeliveries: row.strikes,
    maxDeliveryAttempts: row.max_delivery_attempts,
    payload: row.payload,
    result: row.result,
    events: (eventsOf.get(row.id) ?? []).map((event) => ({
      seq: Number(event.seq),
      type: String(event.type).replace("intent.", ""),
      status: String(event.status),
      attempt: event.attempt === null ? null : Number(event.attempt),
      details: event.details as Final["events"][number]["details"],
    })),
    steps: (stepsOf.get(row.id) ?? []).map((step) => ({
      key: String(step.key),
      status: String(step.status),
      result: step.result,
    })),
  }));
}

function groupByIntent<Row extends Record<string, unknown>>(rows: readonly Row[]): Map<unknown, Row[]> {
  const groups = new Map<unknown, Row[]>();
  for (const row of rows) {
    const group = groups.get(row.intent_id);
    if (group === undefined) groups.set(row.intent_id, [row]);
    else group.push(row);
  }
  return groups;
}

/** For what an agent held when it died: how long until somebody was told of the next attempt. */
function redeliveries(history: readonly Line[], deaths: readonly Death[]): Report["redeliveryMs"] {
  const told = history.filter((line): line is Told => line.kind === "told").sort((a, b) => a.at - b.at);
  const next = new Map<string, number>();
  for (const frame of told) {
    const name = `${frame.intentId} ${frame.attempt}`;
    if (!next.has(name)) next.set(name, frame.at);
  }
  const times = deaths.flatMap(({ at, client }) =>
    told
      .filter((frame) => frame.client === client && frame.at <= at && frame.at > at - 1_000)
      .flatMap((frame) => {
        const then = next.get(`${frame.intentId} ${frame.attempt + 1}`);
        return then === undefined || then < at ? [] : [then - at];
      }),
  );
  times.sort((a, b) => a - b);
  const quantile = (q: number) => times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? 0;
  return { count: times.length, p50: quantile(0.5), p99: quantile(0.99) };
}

// Plays a plan of faults on a world at work, mends everything, lets the work drain, and has the histories judged.

import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Violation } from "../../../server/verify/log-rules.ts";
import { verifyDatabase } from "../../../server/verify/verify.ts";
import type { Final, FinalVersion } from "../../judge/finals.ts";
import { type Json, type Line, readHistory, type Told } from "../../judge/history.ts";
import { judge, judgeDrained } from "../../judge/judge.ts";
import { addressOf, give } from "./give.ts";
import { describeFault, type Fault, type Planned, planFaults, randomOf, SESSIONS } from "./plan.ts";
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
  /** Where the logs of the intents it is about are; null when there is nothing to look into. */
  readonly evidence: string | null;
  /** From the death of an agent to the frame that gives its intent to the next. */
  readonly redeliveryMs: { readonly count: number; readonly p50: number; readonly p99: number };
}

const DRAIN_MS = 90_000;
const PROBE_MS = 30_000;
const PLACES = ["wrapped", "declared", "far", "waits"];

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
    const played = await play(world, plan, options.ms, options.say);
    await Promise.all([world.initiator.end(), world.operator.end()]);
    await mend(world);
    await settle(world, DRAIN_MS);
    // What nobody will end by itself is found now, before anything more is sent that would end it.
    const strays = (await verifyDatabase(world.postgres.url)).violations;
    await giveAll(world, DRAIN_MS, options.seed);
    await probe(world);
    return await report(world, played, options.seed, strays);
  } finally {
    await world.end();
  }
}

interface Death {
  readonly at: number;
  readonly client: string;
}

interface Played {
  readonly faults: readonly Fault[];
  readonly deaths: readonly Death[];
}

/** Longer than this nobody waits for the work to go on: what does not recover is seen in the end. */
const RECOVERY_MS = 5_000;

async function play(
  world: World,
  plan: readonly Planned[],
  ms: number,
  say: (line: string) => void,
): Promise<Played> {
  const began = performance.now();
  const faults: Fault[] = [];
  const deaths: Death[] = [];
  const running: Promise<void>[] = [];
  let late = 0;
  let last = { atMs: 0, done: 0 };
  for (const { atMs, fault } of plan) {
    await sleepUntil(began + atMs + late);
    // On a slow machine parts would be killed faster than they start, and nothing but starts would be tested.
    const inRecovery = atMs - last.atMs < 500;
    const before = performance.now();
    if (!inRecovery)
      await waitFor("work goes on", RECOVERY_MS, async () => (await workDone(world)) > last.done).catch(
        () => undefined,
      );
    late += performance.now() - before;
    if (performance.now() > began + ms) break;
    last = { atMs, done: inRecovery ? last.done : await workDone(world).catch(() => last.done) };
    say(`${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s  ${describeFault(fault)}`);
    faults.push(fault);
    if (fault.kind === "kill agent" || fault.kind === "stop agent")
      deaths.push({ at: Date.now(), client: `agent${fault.which}` });
    running.push(inflict(world, fault).catch((error) => say(`           ${String(error)}`)));
  }
  await sleepUntil(began + ms);
  await Promise.all(running);
  return { faults, deaths };
}

async function workDone(world: World): Promise<number> {
  const [row] = await world.query<{ done: number }>("select count(*)::int as done from events");
  return row?.done ?? 0;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
const sleepUntil = (at: number) => sleep(at - performance.now());

async function inflict(world: World, fault: Fault): Promise<void> {
  switch (fault.kind) {
    case "kill agent":
      return await world.agents[fault.which]?.keepAway(fault.awayMs);
    case "kill initiator":
      return await world.initiator.keepAway(fault.awayMs);
    case "kill operator":
      return await world.operator.keepAway(fault.awayMs);
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
  // Whoever paused them may have died before it could say go on.
  for (const session of SESSIONS) await world.call("POST", `/v1/sessions/${session}/unpause`, {});
}

const OPEN = "status not in ('COMPLETED', 'FAILED', 'CANCELED', 'TIMED_OUT')";
/** Waits that nobody will end unasked: for a signal, for a person, and for children that do. */
const UNASKED = `status = 'WAITING' and (waiting_reason in ('WAITING_FOR_TOOL', 'WAITING_FOR_HUMAN')
  or (waiting_reason = 'WAITING_FOR_AGENT' and exists (select 1 from intents c where c.parent_id = i.id and c.status = 'WAITING')))`;

/** Until all that moves by itself has come to its end. */
async function settle(world: World, ms: number): Promise<void> {
  await waitFor("everything is over or waits for somebody", ms, async () => {
    await unpauseAll(world);
    const rows = await world.query(`select 1 from intents i where ${OPEN} and not (${UNASKED}) limit 1`);
    return rows.length === 0;
  }).catch(() => undefined);
}

/** Gives everybody what they wait for, until nothing is left open. */
async function giveAll(world: World, ms: number, seed: number): Promise<void> {
  const random = randomOf(seed);
  let count = 0;
  await waitFor("everything is over", ms, async () => {
    await unpauseAll(world);
    const rows = await world.query<{ id: string; status: string }>(
      `select id, status from intents where ${OPEN} limit 1000`,
    );
    for (const { id, status } of rows) {
      count += 1;
      if (status === "WAITING") await give(world.call, id, `suite-${count}`, random);
    }
    return rows.length === 0;
  }).catch(() => undefined);
}

async function unpauseAll(world: World): Promise<void> {
  const rows = await world.query<{ id: string }>(`select id from intents where ${OPEN} and paused`);
  for (const { id } of rows) await world.call("POST", `/v1/intents/${id}/unpause`, {});
}

/**
 * Healed means that new work flows again: from every server to every address. One server after the other, the one that
 * nobody hears of last: what the second one's agents get from it, they get by the poll alone.
 */
async function probe(world: World): Promise<void> {
  for (const url of [...world.serverUrls].reverse()) {
    for (const place of PLACES) {
      const payload = { mark: `probe ${url} ${place}`, steps: 1, ms: 0, waits: [{ seconds: 0.05 }] };
      await post(`${url}/v1/intents`, { intent_type: "probe.v1", to_agent: addressOf(place), payload });
    }
    await settle(world, PROBE_MS);
  }
}

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
  { faults, deaths }: Played,
  seed: number,
  strays: readonly Violation[],
): Promise<Report> {
  const finals = await readFinals(world);
  const history = world.historyFiles.flatMap(readHistory);
  const state = await world.query<FinalVersion>("select scope, key, version, value, seq from state_versions");
  const judgement = judge(history, finals, state);
  const verified = await verifyDatabase(world.postgres.url);
  const byKind: Record<string, number> = {};
  for (const fault of faults) byKind[fault.kind] = (byKind[fault.kind] ?? 0) + 1;
  const all = [
    ...strays,
    ...judgement.violations,
    ...judgeDrained(finals),
    ...judgeFailures(finals),
    ...judgeCounters(state),
    ...verified.violations,
  ];
  // What was wrong before the last waits were ended is mostly still wrong.
  const violations = [...new Map(all.map((one) => [JSON.stringify(one), one])).values()];
  return {
    seed,
    faults: faults.length,
    byKind,
    operations: judgement.operations,
    intents: finals.length,
    lost: judgement.lost,
    violations,
    evidence: violations.length === 0 ? null : await keepEvidence(seed, violations, finals, history, state),
    redeliveryMs: redeliveries(history, finals, deaths),
  };
}

/** What the judge saw of the intents it found fault with: a file for each, to read once the world is gone. */
async function keepEvidence(
  seed: number,
  violations: readonly Violation[],
  finals: readonly Final[],
  history: readonly Line[],
  state: readonly FinalVersion[],
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `perdure-violations-${seed}-`));
  await writeFile(join(directory, "violations.json"), JSON.stringify(violations, null, 1));
  for (const id of new Set(violations.flatMap((one) => one.intentId ?? []))) {
    const final = finals.find((one) => one.id === id);
    const lines = [
      ...violations.filter((one) => one.intentId === id),
      ...(final === undefined ? [] : [{ ...final, events: undefined }, ...final.events]),
      ...state.filter((one) => one.scope === `intent:${id}`),
      ...history.filter((line) => JSON.stringify(line).includes(id)),
    ];
    await writeFile(
      join(directory, `${id}.jsonl`),
      lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
    );
  }
  return directory;
}

/** Nothing that is asked of an agent here can fail but by being lost too often, or by an operator's word. */
function judgeFailures(finals: readonly Final[]): Violation[] {
  return finals.flatMap(({ id, events }) =>
    events.flatMap(({ type, details }): Violation[] => {
      const code = details?.error?.code;
      if (type !== "failed" || code === "delivery_attempts_exhausted") return [];
      return [{ invariant: "I12", intentId: id, message: `it failed: ${JSON.stringify(details?.error)}` }];
    }),
  );
}

/** Who counts by compare-and-set counts one by one: nothing is written over, nothing twice (I9). */
function judgeCounters(state: readonly FinalVersion[]): Violation[] {
  const countOf = ({ key, value }: FinalVersion): unknown =>
    ["left", "right"].includes(key) ? (value as Json).n : value;
  return state
    .filter(
      (one) => ["counter", "intents", "left", "right"].includes(one.key) && countOf(one) !== one.version,
    )
    .map(({ scope, key, version, value }) => ({
      invariant: "I9",
      intentId: null,
      message: `${key} in ${scope} is ${JSON.stringify(value)} in version ${version}`,
    }));
}

async function readFinals(world: World): Promise<Final[]> {
  const intents = await world.query(
    `select i.id, i.status, i.attempt, i.strikes, i.max_delivery_attempts, d.payload, o.result,
        d.parent_intent_id, d.parent_step, array(select name from checkpoints c where c.intent_id = i.id) as checkpoints
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
    parentId: row.parent_intent_id,
    parentStep: row.parent_step,
    checkpoints: row.checkpoints,
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

/** Between a loss and the next delivery: somebody's word was waited for, not an agent. */
const HELD_BACK = new Set(["paused", "unpaused", "waiting", "restored", "retried"]);

/** For what an agent held when it died, and lost by that: how long until somebody was told of the next attempt. */
function redeliveries(
  history: readonly Line[],
  finals: readonly Final[],
  deaths: readonly Death[],
): Report["redeliveryMs"] {
  const lost = finals.flatMap(({ id, events }) =>
    events.flatMap(({ type, seq, attempt }) => {
      if (type !== "lost" || attempt === null) return [];
      const then =
        events.find((event) => event.type === "delivered" && event.attempt === attempt + 1)?.seq ?? 0;
      const between = events.filter((event) => event.seq > seq && event.seq < then);
      return between.some((event) => HELD_BACK.has(event.type)) ? [] : [{ id, attempt }];
    }),
  );
  const told = new Map<string, Told>();
  for (const line of history) {
    if (line.kind !== "told") continue;
    const name = `${line.intentId} ${line.attempt}`;
    if ((told.get(name)?.at ?? Number.POSITIVE_INFINITY) > line.at) told.set(name, line);
  }
  const times = lost.flatMap(({ id, attempt }) => {
    const holder = told.get(`${id} ${attempt}`);
    const next = told.get(`${id} ${attempt + 1}`);
    if (holder === undefined || next === undefined) return [];
    const death = deaths.findLast(
      ({ at, client }) => client === holder.client && at >= holder.at && at <= next.at,
    );
    return death === undefined ? [] : [next.at - death.at];
  });
  times.sort((a, b) => a - b);
  const quantile = (q: number) => times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? 0;
  return { count: times.length, p50: quantile(0.5), p99: quantile(0.99) };
}

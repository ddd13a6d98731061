// Plays the plan: one fault after the other, on a world that is at work.

import { describeFault, type Fault, type Planned } from "./plan.ts";
import { sleep, sleepUntil, waitFor } from "./waiting.ts";
import type { World } from "./world.ts";

export interface Death {
  readonly at: number;
  readonly client: string;
}

export interface Played {
  readonly faults: readonly Fault[];
  readonly deaths: readonly Death[];
}

/** Longer than this nobody waits for the work to go on: what does not recover is seen in the end. */
const RECOVERY_MS = 5_000;

export async function play(
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
  const [row] = await world.query<{ done: number }>("select coalesce(sum(seq), 0)::int as done from intents");
  return row?.done ?? 0;
}

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
    case "promote standby":
      return await world.promoteStandby(fault.unsentMs);
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

// Plays a plan of faults on a world at work, mends everything, lets the work drain, and has the histories judged.

import { verifyDatabase } from "../../../server/verify/verify.ts";
import { planFaults, planPromotion, type Replication, SERVERS } from "./plan.ts";
import { play } from "./play.ts";
import { type Report, report } from "./report.ts";
import { startSampling } from "./samples.ts";
import { giveAll, mend, probe, settle } from "./settle.ts";
import { waitFor } from "./waiting.ts";
import { openWorld } from "./world.ts";

export interface SuiteOptions {
  readonly seed: number;
  readonly ms: number;
  readonly say: (line: string) => void;
  /** Default: two. */
  readonly replicas?: number;
  /** How much the initiator has under way beside, with nothing special about it: more operations in the same time. */
  readonly busyLanes?: number;
  /** Adds a standby, and its promotion in the course of the run. */
  readonly replication?: Replication;
  /** Where the built server is; the mutants have one of their own. */
  readonly distribution?: string;
  /** Ends the world early: whoever runs it from a terminal may be interrupted. */
  readonly signal?: AbortSignal;
}

/** Far more than it takes: a busy machine is not to look like work that stands still. */
const DRAIN_MS = 600_000;
const LANES = 12;
/** So many in a run, but none more often than every second. */
const SAMPLES = 180;

export async function runFaults(options: SuiteOptions): Promise<Report> {
  const {
    seed,
    ms,
    replicas: servers = SERVERS,
    busyLanes = 0,
    distribution = "dist",
    replication,
  } = options;
  const faults = planFaults(seed, ms, servers);
  const plan = replication === undefined ? faults : planPromotion(faults, ms, replication);
  const world = await openWorld({ seed, distribution, servers, lanes: LANES, busyLanes, replication });
  options.signal?.addEventListener("abort", () => void world.end().finally(() => process.exit(130)));
  try {
    await waitFor("the agents are at work", 60_000, async () => {
      const [row] = await world.query<{ done: number }>(
        "select count(*)::int as done from events where type = 'intent.step_done'",
      );
      return (row?.done ?? 0) > 0;
    });
    const sampling = startSampling(world, Math.max(1_000, ms / SAMPLES));
    const played = await play(world, plan, ms, options.say);
    const samples = await sampling.stop();
    await Promise.all([world.initiator.end(), world.operator.end()]);
    await mend(world);
    await settle(world, DRAIN_MS);
    // What nobody will end by itself is found now, before anything more is sent that would end it.
    const strays = (await verifyDatabase(world.postgres.url)).violations;
    await giveAll(world, DRAIN_MS, seed);
    await probe(world);
    return await report(
      world,
      played,
      { seed, replicas: servers, minutes: ms / 60_000, busyLanes, replication, samples },
      strays,
    );
  } finally {
    await world.end();
  }
}

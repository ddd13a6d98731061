// The workload that matters most: durable intents of four steps, against every peer that runs durable workflows, and against what
// PostgreSQL can commit at all.

import { measureLoad, startClients } from "../support/load.ts";
import { peerSide } from "../support/peers.ts";
import type { Workload } from "../support/workload.ts";

/** Created, delivered, started, four steps, completed: each is committed before it is answered. */
const TRANSITIONS = 8;
const PEERS = ["restate", "dbos", "absurd", "openworkflow"] as const;
/** In flight where we and our peers are compared. */
const COMPARED = [64, 256];

const isOurs = (side: string) => COMPARED.some((inFlight) => side === `perdure ${inFlight}`);
const isPeer = (side: string) => PEERS.some((peer) => side.startsWith(`${peer} `));

export const fourStep: Workload = {
  name: "four-step",
  about:
    "intents of four durable steps: create → delivery → start → 4 steps → complete → waitFor returns; N in flight",
  quick: true,
  open: async (env) => {
    const server = await env.server();
    const clients = await startClients(env);
    const ours = (inFlight: number) => ({
      name: `perdure ${inFlight}`,
      measure: () => measureLoad(env, clients, [server], { work: "four-step", inFlight }),
    });
    const single = (inFlight: number) => ({
      name: `perdure ${inFlight}, single calls`,
      measure: () => measureLoad(env, clients, [server], { work: "four-step", inFlight, calls: "single" }),
    });
    const declared = (inFlight: number) => ({
      name: `perdure ${inFlight}, declared steps`,
      measure: () => measureLoad(env, clients, [server], { work: "four-step-declared", inFlight }),
    });
    const ceiling = peerSide(env, "ceiling", { workload: "insert", inFlight: 64 });
    const peer = (name: (typeof PEERS)[number], inFlight: number) =>
      peerSide(env, name, { workload: "four-step", inFlight });
    // The short form has no time for more than where most peers are at their best; the best of them is measured at both.
    if (env.form === "quick")
      return [
        ...COMPARED.map(ours),
        single(256),
        ...ceiling,
        ...peer("restate", 64),
        ...PEERS.flatMap((name) => peer(name, 256)),
      ];
    return [
      ...[...COMPARED, 1_024].map(ours),
      ...[...COMPARED, 1_024].map(single),
      declared(256),
      ...ceiling,
      ...PEERS.flatMap((name) => COMPARED.flatMap((inFlight) => peer(name, inFlight))),
    ];
  },
  headlines: (results) => {
    const ours = results.best("per_s", isOurs);
    const transitions = results.ratio(ours, "ceiling 64", "per_s");
    return {
      four_step_vs_best_peer: results.ratio(ours, results.best("per_s", isPeer), "per_s"),
      transitions_vs_pgbench: transitions === undefined ? undefined : transitions * TRANSITIONS,
    };
  },
};

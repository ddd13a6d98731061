// The workload that matters most: durable intents of four steps, against every peer that runs durable workflows, and against what
// PostgreSQL can commit at all.

import { type LoadOptions, measureLoad, startClients } from "../support/load.ts";
import { peerSide } from "../support/peers.ts";
import type { Side, Workload } from "../support/workload.ts";

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
    const side =
      (suffix: string, options: Omit<LoadOptions, "inFlight">) =>
      (inFlight: number): Side => ({
        name: `perdure ${inFlight}${suffix}`,
        measure: () => measureLoad(env, clients, [server], { ...options, inFlight }),
      });
    const ours = side("", { work: "four-step-declared" });
    const single = side(", single calls", { work: "four-step-declared", calls: "single" });
    const wrapped = side(", wrapped steps", { work: "four-step" });
    const ceiling = peerSide(env, "ceiling", { workload: "insert", inFlight: 64 });
    const peer = (name: (typeof PEERS)[number], inFlight: number, rounds?: number) =>
      peerSide(env, name, { workload: "four-step", inFlight, ...(rounds !== undefined && { rounds }) });
    if (env.form === "quick") {
      const others = PEERS.filter((name) => name !== "restate");
      return [
        ...COMPARED.map(ours),
        wrapped(256),
        ...ceiling,
        ...COMPARED.flatMap((inFlight) => peer("restate", inFlight)),
        ...others.flatMap((name) => peer(name, 256, 1)),
      ];
    }
    return [
      ...[...COMPARED, 1_024].map(ours),
      ...[...COMPARED, 1_024].map(single),
      ...COMPARED.map(wrapped),
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

// Intents without steps, sent one by one, against the job queues.

import { measureLoad, startClients } from "../support/load.ts";
import { type Peer, peerSide } from "../support/peers.ts";
import type { Workload } from "../support/workload.ts";

const COMPARED = [64, 256];
const isOurs = (side: string) => COMPARED.some((inFlight) => side === `perdure ${inFlight}`);

export const noStep: Workload = {
  name: "no-step",
  about:
    "intents without steps, sent one by one: create → delivery → start → complete → waitFor returns; N in flight",
  quick: true,
  open: async (env) => {
    const server = await env.server();
    const clients = await startClients(env);
    const ours = (inFlight: number) => ({
      name: `perdure ${inFlight}`,
      measure: () => measureLoad(env, clients, [server], { work: "no-step", inFlight }),
    });
    const peer = (name: Peer, setting?: string) => (inFlight: number) =>
      peerSide(env, name, { workload: "no-step", inFlight, ...(setting !== undefined && { setting }) });
    if (env.form === "quick")
      return [
        ...COMPARED.map(ours),
        ...COMPARED.flatMap(peer("graphile-worker", "default")),
        ...COMPARED.flatMap(peer("pg-boss")),
      ];
    return [
      ...[...COMPARED, 1_024].map(ours),
      ...COMPARED.flatMap(peer("graphile-worker", "default")),
      ...COMPARED.flatMap(peer("graphile-worker", "fast")),
      ...COMPARED.flatMap(peer("pg-boss")),
      ...COMPARED.flatMap(peer("restate")),
    ];
  },
  headlines: (results) => {
    const best = (among: (side: string) => boolean) => results.best("per_s", among);
    const graphile = best((side) => side.startsWith("graphile-worker default "));
    return { no_step_vs_graphile_default: results.ratio(best(isOurs), graphile, "per_s") };
  },
};

// Intents without steps, sent one by one, against the job queues.

import { measureLoad, startClients } from "../support/load.ts";
import { type Peer, type PeerRun, peerSide } from "../support/peers.ts";
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
    const peer =
      (name: Peer, more: Partial<PeerRun> = {}) =>
      (inFlight: number) =>
        peerSide(env, name, { workload: "no-step", inFlight, ...more });
    const byDefault = peer("graphile-worker", { setting: "default" });
    // The queue's default is ten jobs at once, however many wait.
    if (env.form === "quick")
      return [...COMPARED.map(ours), ...byDefault(64), ...peer("pg-boss", { rounds: 1 })(256)];
    return [
      ...[...COMPARED, 1_024].map(ours),
      ...COMPARED.flatMap(byDefault),
      ...COMPARED.flatMap(peer("graphile-worker", { setting: "fast" })),
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

// Intents without steps, sent one by one, against the job queues.

import { measureLoad, startClients } from "../support/load.ts";
import { peerSide } from "../support/peers.ts";
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
    const queue = (setting: string) =>
      peerSide(env, "graphile", { workload: "no-step", inFlight: 64, setting });
    const boss = (inFlight: number) => peerSide(env, "pg-boss", { workload: "no-step", inFlight });
    if (env.form === "quick") return [...COMPARED.map(ours), ...queue("default"), ...boss(256)];
    return [
      ...[...COMPARED, 1_024].map(ours),
      ...queue("default"),
      ...queue("fast"),
      ...COMPARED.flatMap(boss),
      ...COMPARED.flatMap((inFlight) => peerSide(env, "restate", { workload: "no-step", inFlight })),
    ];
  },
  headlines: (results) => ({
    no_step_vs_graphile_default: results.ratio(results.best("per_s", isOurs), "graphile default 64", "per_s"),
  }),
};

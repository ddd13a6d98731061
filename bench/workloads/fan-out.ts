// Work for a thousand agents instead of one: an address, a stream and a lease each, in one process.

import { measureLoad, startClients } from "../support/load.ts";
import type { Workload } from "../support/workload.ts";

const IN_FLIGHT = 256;

export const fanOut: Workload = {
  name: "fan-out",
  about: `intents without steps, ${IN_FLIGHT} in flight, to so many agents with an address each`,
  quick: false,
  open: async (env) => {
    const server = await env.server();
    const clients = await startClients(env);
    return [1, 100, 1_000].map((agents) => ({
      name: `${agents} agents`,
      measure: () => measureLoad(env, clients, [server], { work: "no-step", inFlight: IN_FLIGHT, agents }),
    }));
  },
  headlines: () => ({}),
};

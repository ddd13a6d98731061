// Several servers on one database, the clients spread over them: on a machine of few cores they must not cost, on one of many they gain.

import { measureLoad, startClients } from "../support/load.ts";
import type { Workload } from "../support/workload.ts";

const REPLICAS = 3;
const IN_FLIGHT = 256;

export const replicas: Workload = {
  name: "replicas",
  about: `four-step intents, ${IN_FLIGHT} in flight, through 1, 2 and ${REPLICAS} servers on one database; on a machine of few cores they share those`,
  quick: false,
  open: async (env) => {
    const databaseUrl = await env.database();
    const servers = [];
    for (let n = 0; n < REPLICAS; n += 1) servers.push(await env.server({ databaseUrl }));
    const clients = await startClients(env);
    return servers.map((_, index) => ({
      name: `${index + 1} servers`,
      measure: () =>
        measureLoad(env, clients, servers.slice(0, index + 1), { work: "four-step", inFlight: IN_FLIGHT }),
    }));
  },
  headlines: () => ({}),
};

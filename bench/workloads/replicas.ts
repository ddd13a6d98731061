// Several servers on one database, the clients spread over them: on a machine of few cores they must not cost, on one of many they gain.

import { measureLoad, startClients } from "../support/load.ts";
import type { BenchServer } from "../support/perdure.ts";
import type { Side, Workload } from "../support/workload.ts";

const REPLICAS = 3;
const IN_FLIGHT = 256;

export const replicas: Workload = {
  name: "replicas",
  about: `four-step intents, ${IN_FLIGHT} in flight, through 1, 2 and ${REPLICAS} servers on one database; on a machine of few cores they share those`,
  quick: false,
  open: async (env) => {
    const clients = await startClients(env);
    const side = async (count: number): Promise<Side> => {
      const databaseUrl = await env.database();
      const servers: BenchServer[] = [];
      while (servers.length < count) servers.push(await env.server({ databaseUrl }));
      const measure = () => measureLoad(env, clients, servers, { work: "four-step", inFlight: IN_FLIGHT });
      return { name: `${count} servers`, measure };
    };
    const sides: Side[] = [];
    while (sides.length < REPLICAS) sides.push(await side(sides.length + 1));
    return sides;
  },
  headlines: () => ({}),
};

// How fast intents are taken in when they come in batches: 1,000 in a commit, nobody works on them yet.

import { startClients, withCpu } from "../support/load.ts";
import type { Workload } from "../support/workload.ts";

const SIZE = 1_000;
const ADDRESS = "agent://bench/submit/nobody";

export const batchSubmit: Workload = {
  name: "batch-submit",
  about: `intents created with sendIntents of ${SIZE}, all durable; N such calls in flight`,
  quick: true,
  open: async (env) => {
    const server = await env.server();
    const { initiator } = await startClients(env);
    const connection = { baseUrl: server.baseUrl, calls: "coalesced" } as const;
    const { warmupSeconds, seconds } = env;
    const side = (inFlight: number) => ({
      name: `perdure ${inFlight}`,
      measure: async () => {
        const input = { connection, address: ADDRESS, size: SIZE, inFlight, warmupSeconds, seconds };
        const figures = await withCpu(env, { initiator, servers: [server] }, async (tell) => {
          const batches = await initiator.call("submit", input, tell);
          return { ...batches, completed: batches.completed * SIZE, per_s: batches.per_s * SIZE };
        });
        return figures;
      },
    });
    return env.form === "quick" ? [2, 4].map(side) : [1, 2, 4, 8].map(side);
  },
  headlines: (results) => {
    const best = results.best("per_s", () => true);
    return { batch_submit_per_s: best === undefined ? undefined : results.median(best, "per_s") };
  },
};

// What keys cost: the same load on a server that wants a key with each request, and on one that wants none.

import { measureLoad, startClients } from "../support/load.ts";
import type { BenchServer } from "../support/perdure.ts";
import type { Side, Workload } from "../support/workload.ts";

const ADMIN_KEY = "only-for-this-benchmark-0123456789";
const CALLS = ["coalesced", "single"] as const;
const IN_FLIGHT = 64;

async function createKey({ baseUrl }: BenchServer): Promise<string> {
  const key = {
    name: "bench",
    address: "agent://bench/load/all",
    scopes: ["send", "act", "read"],
    patterns: ["bench/load/*"],
  };
  const answer = await fetch(`${baseUrl}/v1/keys`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": ADMIN_KEY },
    body: JSON.stringify(key),
  });
  if (!answer.ok) throw new Error(`no key: ${await answer.text()}`);
  return ((await answer.json()) as { api_key: string }).api_key;
}

export const keys: Workload = {
  name: "keys",
  about: `four-step intents, ${IN_FLIGHT} in flight, with a key of the database and without; keys_on is that of single calls, where most are checked`,
  quick: false,
  open: async (env) => {
    // With keys there is a limit of requests a second by default, and none without.
    const limits = { PERDURE_RATE_LIMIT: "0" };
    const open = await env.server({ env: limits });
    const keyed = await env.server({ env: { ...limits, PERDURE_ADMIN_KEY: ADMIN_KEY } });
    const apiKey = await createKey(keyed);
    const clients = await startClients(env);
    const options = { work: "four-step", inFlight: IN_FLIGHT } as const;
    return CALLS.flatMap((calls): Side[] => [
      { name: `without, ${calls}`, measure: () => measureLoad(env, clients, [open], { ...options, calls }) },
      {
        name: `with, ${calls}`,
        measure: () => measureLoad(env, clients, [keyed], { ...options, calls, apiKey }),
      },
    ]);
  },
  headlines: (results) => ({
    keys_on: results.ratio("with, single", "without, single", "per_s"),
    keys_on_cpu: results.ratio("without, single", "with, single", "server_cpu_us"),
  }),
};

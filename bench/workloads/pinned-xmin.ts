// A transaction that somebody forgot: vacuum may remove nothing that died since it began, and what is at work has to walk past all of it.

import pg from "pg";
import { type Clients, measureLoad, startClients } from "../support/load.ts";
import type { BenchServer } from "../support/perdure.ts";
import type { BenchEnv, Side, Workload } from "../support/workload.ts";

const IN_FLIGHT = 256;
/** Before it is measured, both run under load for so many times as long as a round: 10 minutes in the long form. */
const AGED_ROUNDS = 75;

const measure = (env: BenchEnv, clients: Clients, server: BenchServer) =>
  measureLoad(env, clients, [server], { work: "four-step", inFlight: IN_FLIGHT });

/** Holds a snapshot of the server's database until the workload ends. */
async function pin(env: BenchEnv, { databaseUrl }: BenchServer): Promise<void> {
  const holder = new pg.Client({ connectionString: databaseUrl, application_name: "bench: forgotten" });
  await holder.connect();
  env.onClose(() => holder.end());
  await holder.query("begin isolation level repeatable read; select count(*) from pg_class");
}

export const pinnedXmin: Workload = {
  name: "pinned-xmin",
  about: `four-step intents, ${IN_FLIGHT} in flight, after 10 minutes of load, with a transaction open since before it and without`,
  quick: false,
  open: async (env) => {
    const sides = await Promise.all(
      ["free", "pinned"].map(async (name) => ({
        name,
        server: await env.server(),
        clients: await startClients(env),
      })),
    );
    for (const { name, server } of sides) if (name === "pinned") await pin(env, server);
    const aging = { ...env, seconds: env.seconds * AGED_ROUNDS };
    // Both at once, for as long: neither is younger than the other.
    await Promise.all(sides.map(({ server, clients }) => measure(aging, clients, server)));
    return sides.map(
      ({ name, server, clients }): Side => ({ name, measure: () => measure(env, clients, server) }),
    );
  },
  headlines: (results) => ({ pinned_xmin: results.ratio("pinned", "free", "per_s") }),
};

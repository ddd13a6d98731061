// A database that has been at work for long: the same load beside 5 million stored intents as beside 5 thousand.

import { storeCopies } from "../../test/support/stored.ts";
import { type Clients, measureLoad, startClients } from "../support/load.ts";
import type { BenchServer } from "../support/perdure.ts";
import { asAdmin } from "../support/postgres.ts";
import type { BenchEnv, Side, Workload } from "../support/workload.ts";

const IN_FLIGHT = 256;
const FEW = 5_000;
/** Fewer for a look at whether it works. */
const MANY = Number(process.env.STORED ?? 5_000_000);
/** So that the files stay below what a small disk has: every so many-th has its log and steps. */
const WITH_LOG_EVERY = 10;

/** Ends one intent, and copies it. */
async function store(clients: Clients, { baseUrl, databaseUrl }: BenchServer, count: number): Promise<void> {
  const connection = { baseUrl, calls: "coalesced" } as const;
  const address = "agent://bench/stored/four-step";
  await clients.agent.call("listen", [{ connection, addresses: [address], capacity: 1, work: "four-step" }]);
  await clients.initiator.call("once", { connection, address });
  await clients.agent.call("stop", undefined);
  await asAdmin(databaseUrl, async (db) => {
    const { rows } = await db.query("select id from intents limit 1");
    await storeCopies(db, { of: rows[0].id, count, withLogEvery: WITH_LOG_EVERY });
    await db.query("vacuum analyze");
    await db.query("checkpoint");
  });
}

export const at5m: Workload = {
  name: "at-5m",
  about: `four-step intents, ${IN_FLIGHT} in flight, beside so many stored ones that have ended`,
  quick: false,
  open: async (env: BenchEnv) => {
    const clients = await startClients(env);
    const side = async (stored: number): Promise<Side> => {
      const server = await env.server();
      await store(clients, server, stored);
      const measure = () => measureLoad(env, clients, [server], { work: "four-step", inFlight: IN_FLIGHT });
      return { name: stored === FEW ? "few" : "many", measure };
    };
    env.note(`few: ${FEW} stored, many: ${MANY}`);
    return [await side(FEW), await side(MANY)];
  },
  headlines: (results) => ({ at_5m: results.ratio("many", "few", "per_s") }),
};

// What a user feels when little is going on: how soon work starts, and how soon its end is known.

import type { InitiatorOperations } from "../programs/initiator.ts";
import { startClients } from "../support/load.ts";
import { type Peer, peerSide } from "../support/peers.ts";
import type { BenchServer } from "../support/perdure.ts";
import type { Program } from "../support/programs.ts";
import { quantile } from "../support/results.ts";
import type { Workload } from "../support/workload.ts";

const ADDRESS = "agent://bench/latency/clock";
const PEERS: readonly Peer[] = ["restate", "graphile-worker", "pg-boss", "openworkflow", "absurd", "dbos"];

async function measureLatency(initiator: Program<InitiatorOperations>, server: BenchServer, rounds: number) {
  const connection = { baseUrl: server.baseUrl, calls: "coalesced" } as const;
  const { starts, waits } = await initiator.call("latency", { connection, address: ADDRESS, rounds });
  return {
    p50_ms: quantile(starts, 0.5),
    p99_ms: quantile(starts, 0.99),
    wait_p50_ms: quantile(waits, 0.5),
    wait_p99_ms: quantile(waits, 0.99),
  };
}

export const latency: Workload = {
  name: "latency",
  about: "one intent at a time: create → the handler starts (p50, p99), complete → waitFor returns (wait_…)",
  quick: true,
  open: async (env) => {
    const server = await env.server();
    const { initiator, agent } = await startClients(env);
    const connection = { baseUrl: server.baseUrl, calls: "coalesced" } as const;
    await agent.call("listen", [{ connection, addresses: [ADDRESS], capacity: 4, work: "clock" }]);
    const rounds = env.form === "quick" ? 150 : 400;
    const ours = { name: "perdure", measure: () => measureLatency(initiator, server, rounds) };
    if (env.form === "quick") return [ours];
    // Some peers take a second for one.
    const peers = PEERS.flatMap((peer) =>
      peerSide(env, peer, { workload: "latency", inFlight: 1, jobs: 40 }),
    );
    return [ours, ...peers];
  },
  headlines: (results) => ({ start_p50_ms: results.median("perdure", "p50_ms") }),
};

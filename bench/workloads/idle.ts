// What is used while nothing happens: by a server alone, and by one on which 5,000 agents of the SDK listen and send their heartbeats.

import { setTimeout as sleep } from "node:timers/promises";
import type { AgentOperations } from "../programs/agent.ts";
import { cpuSeconds, familyCpuSeconds, residentKb } from "../support/processes.ts";
import { startProgram } from "../support/programs.ts";
import type { BenchEnv, Figures, Workload } from "../support/workload.ts";

const AGENTS = 5_000;
const ADDRESSES = Array.from({ length: AGENTS }, (_, n) => `agent://bench/idle/agent-${n}`);
const SETTLING_MS = 3_000;

/** A new server each time: what an older one once held would be counted as what it needs. */
async function startIdle(env: BenchEnv) {
  const databaseUrl = await env.database();
  const statements = await env.postgres.countStatements(databaseUrl);
  const server = await env.server({ databaseUrl });
  await sleep(SETTLING_MS);
  return { server, statements };
}

/** What goes on in a while of doing nothing. */
async function watch(env: BenchEnv, { server, statements }: Awaited<ReturnType<typeof startIdle>>) {
  const read = async () => ({
    at: performance.now(),
    statements: await statements(),
    server: await cpuSeconds(server.pid),
    postgres: await familyCpuSeconds(env.postgres.pid),
  });
  const before = await read();
  await sleep(env.form === "quick" ? 8_000 : 30_000);
  const after = await read();
  const seconds = (after.at - before.at) / 1_000;
  return {
    queries_per_s: (after.statements - before.statements) / seconds,
    server_cpu_pct: ((after.server - before.server) / seconds) * 100,
    postgres_cpu_pct: ((after.postgres - before.postgres) / seconds) * 100,
  };
}

async function measureAlone(env: BenchEnv): Promise<Figures> {
  const idle = await startIdle(env);
  const used = await watch(env, idle);
  const rss_mb = (await residentKb(idle.server.pid)) / 1_024;
  await idle.server.stop();
  return { rss_mb, ...used };
}

async function measureAgents(env: BenchEnv): Promise<Figures> {
  const idle = await startIdle(env);
  const aloneKb = await residentKb(idle.server.pid);
  const agents = await startProgram<AgentOperations>("agent");
  env.onClose(() => agents.stop());
  const connection = { baseUrl: idle.server.baseUrl, calls: "coalesced" } as const;
  await agents.call("listen", [{ connection, addresses: ADDRESSES, capacity: 1, work: "no-step" }]);
  await sleep(SETTLING_MS);
  const used = await watch(env, idle);
  const kb = await residentKb(idle.server.pid);
  await agents.stop();
  await idle.server.stop();
  return { rss_mb: kb / 1_024, agent_kb: (kb - aloneKb) / AGENTS, ...used };
}

export const idle: Workload = {
  name: "idle",
  about: `a server on which nothing happens, alone and with ${AGENTS} agents that listen; CPU in % of one core`,
  quick: true,
  open: async (env) => {
    const rounds = env.form === "quick" ? { rounds: 1 } : {};
    return [
      { name: "alone", ...rounds, measure: () => measureAlone(env) },
      { name: "with agents", ...rounds, measure: () => measureAgents(env) },
    ];
  },
  headlines: (results) => ({
    idle_agent_kb: results.median("with agents", "agent_kb"),
    idle_queries_per_s: results.median("alone", "queries_per_s"),
    idle_rss_mb: results.median("alone", "rss_mb"),
  }),
};

// Owns a load on one or several servers: an initiator and an agent, each a process of its own with our SDK, and who used how much CPU.

import type { AgentOperations, Listening, Work } from "../programs/agent.ts";
import type { InitiatorOperations, LoopFigures } from "../programs/initiator.ts";
import type { Connection } from "./clients.ts";
import { SUM_OF_STEPS } from "./job.ts";
import type { BenchServer } from "./perdure.ts";
import { cpuSeconds, familyCpuSeconds } from "./processes.ts";
import { type Program, startProgram } from "./programs.ts";
import type { BenchEnv, Figures } from "./workload.ts";

export interface Clients {
  readonly initiator: Program<InitiatorOperations>;
  readonly agent: Program<AgentOperations>;
}

/** Starts both; they end with the workload. */
export async function startClients(env: BenchEnv): Promise<Clients> {
  const initiator = await startProgram<InitiatorOperations>("initiator");
  env.onClose(() => initiator.stop());
  const agent = await startProgram<AgentOperations>("agent");
  env.onClose(() => agent.stop());
  return { initiator, agent };
}

export interface LoadOptions {
  readonly work: Work;
  readonly inFlight: number;
  /** Default coalesced. */
  readonly calls?: Connection["calls"];
  readonly apiKey?: string;
  /** So many agents, on an address each. Default one. */
  readonly agents?: number;
}

/** Clients and servers whose code has run long enough to be compiled: a cold server does a tenth of what it will do. */
const warm = new WeakSet<Clients | BenchServer>();
const FIRST_WARM_UP_SECONDS = 3;

/** Listens, keeps `inFlight` intents going through all of `servers`, and tells throughput, latency and CPU of each process an intent. */
export async function measureLoad(
  env: BenchEnv,
  clients: Clients,
  servers: readonly BenchServer[],
  options: LoadOptions,
): Promise<Figures> {
  const { work, inFlight, calls = "coalesced", apiKey, agents = 1 } = options;
  const connections = servers.map(({ baseUrl }) => ({
    baseUrl,
    calls,
    ...(apiKey !== undefined && { apiKey }),
  }));
  const addresses = Array.from({ length: agents }, (_, n) => `agent://bench/load/${work}-${n}`);
  // All that is in flight can be at work at once: as at our peers, nothing waits for a free worker.
  const capacity = Math.max(1, Math.ceil(inFlight / agents / servers.length));
  const listenings = connections.map((connection): Listening => ({ connection, addresses, capacity, work }));
  await clients.agent.call("listen", listenings);
  try {
    const isWarm = [clients, ...servers].every((each) => warm.has(each));
    const warmupSeconds = env.warmupSeconds + (isWarm ? 0 : FIRST_WARM_UP_SECONDS);
    for (const each of [clients, ...servers]) warm.add(each);
    const window = { inFlight, warmupSeconds, seconds: env.seconds };
    const sum = work === "four-step" ? { sum: SUM_OF_STEPS } : {};
    return await withCpu(env, { ...clients, servers }, (tell) =>
      clients.initiator.call("load", { connections, addresses, ...window, ...sum }, tell),
    );
  } finally {
    await clients.agent.call("stop", undefined);
  }
}

interface Processes {
  readonly initiator: Program<InitiatorOperations>;
  readonly agent?: Program<AgentOperations>;
  readonly servers: readonly BenchServer[];
}

/** The CPU that each part used between "begin" and "end", in µs for each one completed. */
export async function withCpu(
  env: BenchEnv,
  processes: Processes,
  run: (tell: (what: string) => void) => Promise<LoopFigures>,
): Promise<Figures> {
  const read = async () => ({
    server: (await Promise.all(processes.servers.map(({ pid }) => cpuSeconds(pid)))).reduce(
      (sum, one) => sum + one,
      0,
    ),
    postgres: await familyCpuSeconds(env.postgres.pid),
    initiator: await cpuSeconds(processes.initiator.pid),
    agent: processes.agent === undefined ? 0 : await cpuSeconds(processes.agent.pid),
  });
  let begun = read();
  let ended = begun;
  const { completed, per_s, p50_ms, p99_ms } = await run((what) => {
    if (what === "begin") begun = read();
    if (what === "end") ended = read();
  });
  const [before, after] = await Promise.all([begun, ended]);
  const each = (part: keyof typeof before) => ((after[part] - before[part]) * 1e6) / completed;
  const split = {
    server_cpu_us: each("server"),
    postgres_cpu_us: each("postgres"),
    initiator_cpu_us: each("initiator"),
    agent_cpu_us: each("agent"),
  };
  const cpu_us = Object.values(split).reduce((sum, one) => sum + one, 0);
  return { per_s, p50_ms, p99_ms, cpu_us, ...split };
}

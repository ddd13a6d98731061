// Owns the way to our peers: the programs of bench/peers, a package of its own that is installed when it is first needed.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { BenchEnv, Figures, Side } from "./workload.ts";

export type Peer = "restate" | "dbos" | "absurd" | "openworkflow" | "graphile-worker" | "pg-boss" | "ceiling";

export interface PeerRun {
  readonly workload: "four-step" | "no-step" | "latency" | "insert";
  readonly inFlight: number;
  readonly setting?: string;
  /** Intents of the light load, one at a time. */
  readonly jobs?: number;
  /** As of `Side`. */
  readonly rounds?: number;
}

const DIRECTORY = fileURLToPath(new URL("../peers", import.meta.url));
const INSTALL_MS = 180_000;
/** Beyond what it measures: starting servers and workers, ending them. */
const PATIENCE_MS = 60_000;

/** What keeps us from measuring peers; undefined when nothing does. Installs them when they are not there. */
export async function installPeers(say: (line: string) => void): Promise<string | undefined> {
  if (!existsSync(`${DIRECTORY}/package.json`)) return "bench/peers is not there";
  if (existsSync(`${DIRECTORY}/node_modules`)) return undefined;
  say("installing the peers (npm ci --prefix bench/peers), once");
  try {
    await promisify(execFile)("npm", ["ci", "--prefix", DIRECTORY, "--no-audit", "--no-fund"], {
      timeout: INSTALL_MS,
    });
    return undefined;
  } catch (error) {
    return `npm ci --prefix bench/peers failed: ${String(error).split("\n")[0]}`;
  }
}

/** Each peer's version, where they are installed. */
export async function peerVersions(): Promise<Record<string, string>> {
  const program = `${DIRECTORY}/src/versions.mjs`;
  if (!existsSync(program) || !existsSync(`${DIRECTORY}/node_modules`)) return {};
  const { stdout } = await promisify(execFile)(process.execPath, [program]).catch(() => ({ stdout: "{}" }));
  return JSON.parse(stdout) as Record<string, string>;
}

/** The side of a peer; none when its program is not there. */
export function peerSide(env: BenchEnv, peer: Peer, run: PeerRun): Side[] {
  const name = [peer, run.setting, run.workload === "latency" ? undefined : run.inFlight]
    .filter(Boolean)
    .join(" ");
  if (env.peersMissing !== undefined || !existsSync(`${DIRECTORY}/src/${peer}.mjs`)) {
    env.note(`${name} is missing: ${env.peersMissing ?? `there is no bench/peers/src/${peer}.mjs`}`);
    return [];
  }
  const rounds = run.rounds === undefined ? {} : { rounds: run.rounds };
  return [{ name, ...rounds, measure: () => measurePeer(env, peer, run) }];
}

interface Line {
  readonly per_s: number | null;
  readonly p50_ms: number | null;
  readonly p99_ms: number | null;
  readonly completed: number;
  /** pgbench was not there. */
  readonly substitute?: boolean;
  readonly cpu?: Readonly<Record<string, number | null>>;
}

async function measurePeer(env: BenchEnv, peer: Peer, run: PeerRun): Promise<Figures> {
  const options = {
    workload: run.workload,
    "in-flight": run.inFlight,
    seconds: env.seconds,
    // Their processes are new in each round, ours are warm since the first.
    warmup: env.warmupSeconds + 1,
    "database-url": env.postgres.adminUrl,
    ...(run.setting !== undefined && { setting: run.setting }),
    ...(run.jobs !== undefined && { rounds: run.jobs }),
  };
  const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const line = await lastLine([`${DIRECTORY}/src/${peer}.mjs`, ...words]);
  if (line.substitute) env.note(`${peer}: the real program is not installed, a stand-in was measured`);
  return figuresOf(line);
}

async function lastLine(args: readonly string[]): Promise<Line> {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], timeout: PATIENCE_MS });
  let [out, complaints] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (piece) => {
    out += piece;
  });
  child.stderr.setEncoding("utf8").on("data", (piece) => {
    complaints += piece;
  });
  const [code, signal] = await once(child, "close");
  if (code !== 0) {
    const lines = complaints.trim().split("\n");
    throw new Error(
      `ended with ${code ?? signal}: ${lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1)}`,
    );
  }
  return JSON.parse(out.trim().split("\n").at(-1) ?? "") as Line;
}

/** In the same words as our own load's. */
function figuresOf({ per_s, p50_ms, p99_ms, completed, cpu = {} }: Line): Figures {
  if (per_s === null) throw new Error("nothing ended within the window");
  const each = (part: string) => {
    const seconds = cpu[part];
    return typeof seconds === "number" ? (seconds * 1e6) / completed : undefined;
  };
  const figures = {
    per_s,
    p50_ms: p50_ms ?? undefined,
    p99_ms: p99_ms ?? undefined,
    server_cpu_us: each("peer_server_s"),
    postgres_cpu_us: each("postgres_s"),
    initiator_cpu_us: each("initiator_s"),
    agent_cpu_us: each("worker_s"),
  };
  const split = ["client_s", "server_s"].map(each);
  const all = split.every((one) => one !== undefined) ? { cpu_us: split.reduce((a, b) => a + b, 0) } : {};
  const known = Object.entries({ ...figures, ...all }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(known) as Figures;
}

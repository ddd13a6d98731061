// Owns the PostgreSQL process: finds the one that runs on a data directory, starts it, waits until it is ready,
// stops it. Trusts a pid only after proof that the process behind it is PostgreSQL on this directory.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { open, readFile, readlink, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Binaries } from "./binaries.ts";
import type { Cluster } from "./cluster.ts";
import { codeOf } from "./errors.ts";
import type { Identity } from "./identity.ts";
import { programOptions, runProgram } from "./program.ts";

export interface Postmaster {
  readonly pid: number;
  readonly child?: ChildProcess;
}

export type Found =
  | { readonly state: "running"; readonly pid: number }
  | { readonly state: "stale"; readonly pid: number }
  | { readonly state: "absent" };

const LOG_MAX_BYTES = 8 * 1024 * 1024;
const POLL_MS = 15;
/** Fast: sessions are ended, everything is written. Immediate: recovery at the next start. Then there is no asking. */
const STOP_STEPS: readonly (readonly [NodeJS.Signals, number])[] = [
  ["SIGINT", 10_000],
  ["SIGQUIT", 5_000],
  ["SIGKILL", 2_000],
];

/** False for zombies too: a killed process that nobody waits for (pid 1 of a container) keeps its pid for ever. */
export async function isAlive(pid: number): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) !== "EPERM") return false;
  }
  if (process.platform !== "linux") return true;
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return status !== "" && !/\) [ZX] /.test(status);
}

/** What `postmaster.pid` tells, checked against the system: a crash leaves the file, and its pid may be anybody's now. */
export async function findPostmaster(data: string): Promise<Found> {
  const file = await readPidFile(data);
  if (file === undefined) return { state: "absent" };
  const { pid } = file;
  if ((await isAlive(pid)) && (await runsOn(pid, data))) return { state: "running", pid };
  return { state: "stale", pid };
}

/** The port of a PostgreSQL that is ready. */
export async function portOf(data: string): Promise<number> {
  return (await readPidFile(data))?.port ?? Number.NaN;
}

interface PidFile {
  readonly pid: number;
  readonly port: number;
  readonly status: string;
}

async function readPidFile(data: string): Promise<PidFile | undefined> {
  try {
    const lines = (await readFile(join(data, "postmaster.pid"), "utf8")).split("\n");
    const pid = Number(lines[0]);
    if (!Number.isInteger(pid) || pid === 0) return undefined;
    return { pid: Math.abs(pid), port: Number(lines[3]), status: lines[7]?.trim() ?? "" };
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function runsOn(pid: number, data: string): Promise<boolean> {
  // A postmaster's working directory is its data directory. Not readable: another user's process, so not ours.
  if (process.platform === "linux") return (await readlink(`/proc/${pid}/cwd`).catch(() => "")) === data;
  if (process.platform === "win32") return true;
  const command = await new Promise<string>((resolve) => {
    execFile("ps", ["-ww", "-o", "command=", "-p", String(pid)], (error, stdout) =>
      resolve(error ? "" : stdout),
    );
  });
  return command.includes("postgres") && command.includes(data);
}

export interface SpawnOptions {
  readonly binaries: Binaries;
  readonly cluster: Cluster;
  readonly identity: Identity | undefined;
  readonly port: number;
  readonly settings: Readonly<Record<string, string>>;
  /** The pid of a stale pid file. */
  readonly stalePid: number | undefined;
}

/** Starts PostgreSQL so that it outlives us: Ctrl+C reaches only us, and we stop it after we have drained. */
export async function spawnPostmaster(
  options: SpawnOptions,
): Promise<Postmaster | { readonly failure: string }> {
  const { binaries, cluster, identity, port, settings, stalePid } = options;
  const all = { ...settings, listen_addresses: "127.0.0.1", port: String(port), unix_socket_directories: "" };
  const args = [
    "-D",
    cluster.data,
    ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
  const { env, ...rest } = programOptions(identity);
  // PostgreSQL refuses to start while the pid in a left-over file is anybody's, and deleting the file would also
  // delete its note of shared memory that a dying backend may still use. This is how pg_ctl names pids to ignore.
  if (stalePid !== undefined) env.PG_GRANDPARENT_PID = String(stalePid);
  await rotateLog(cluster.log);
  const log = openSync(cluster.log, "a", 0o600);
  const child = spawn(binaries.postgres, args, { ...rest, env, detached: true, stdio: ["ignore", log, log] });
  const failure = new Promise<string>((resolve) => child.once("error", (error) => resolve(error.message)));
  closeSync(log);
  if (child.pid === undefined) return { failure: await failure };
  child.unref();
  return { pid: child.pid, child };
}

async function rotateLog(log: string): Promise<void> {
  const { size } = await stat(log).catch(() => ({ size: 0 }));
  if (size > LOG_MAX_BYTES) await rename(log, `${log}.1`);
}

/** Waits until PostgreSQL says that it accepts connections, is gone, or the deadline has passed. */
export async function waitUntilReady(
  data: string,
  postmaster: Postmaster,
  deadline: number,
): Promise<"ready" | "gone" | "late"> {
  while (Date.now() < deadline) {
    const file = await readPidFile(data);
    if (file?.pid === postmaster.pid && file.status === "ready") return "ready";
    if (await hasEnded(postmaster)) return "gone";
    await delay(POLL_MS);
  }
  return "late";
}

async function hasEnded({ pid, child }: Postmaster): Promise<boolean> {
  if (child !== undefined) return child.exitCode !== null || child.signalCode !== null;
  return !(await isAlive(pid));
}

/** Stops PostgreSQL within a bounded time, first politely. True when it is gone. */
export async function stopPostmaster(
  data: string,
  postmaster: Postmaster,
  binaries: Binaries,
  steps = STOP_STEPS,
): Promise<boolean> {
  for (const [signal, waitMs] of steps) {
    const found = await findPostmaster(data);
    if (found.state === "running" && found.pid === postmaster.pid) {
      if (process.platform === "win32") {
        await runProgram(binaries.pgCtl, ["stop", "-D", data, "-m", "fast", "-t", "10"], undefined);
      } else {
        send(postmaster.pid, signal);
      }
    }
    const deadline = Date.now() + waitMs;
    while (Date.now() < deadline) {
      if (await hasEnded(postmaster)) return true;
      await delay(POLL_MS);
    }
  }
  return hasEnded(postmaster);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}

/** The last lines of PostgreSQL's log, for an error message. */
export async function tailOfLog(log: string): Promise<string> {
  const handle = await open(log, "r").catch(() => undefined);
  if (handle === undefined) return "(there is no log)";
  try {
    const { size } = await handle.stat();
    const length = Math.min(size, 2_000);
    const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString().trim().split("\n").slice(-6).join("\n");
  } finally {
    await handle.close();
  }
}

// Owns what the tests of the embedded PostgreSQL leave behind: their directories, servers and PostgreSQL processes.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readlinkSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { isAlive } from "../../server/postgres/postmaster.ts";
import { compiled } from "../support/programs.ts";

export interface Holder {
  readonly child: ChildProcess;
  readonly url: string;
  readonly dataDir: string;
  readonly pid: number;
  readonly adopted: boolean;
  readonly code?: string;
}

const HOLDER = compiled("test/postgres/hold-database.ts");

const directories: string[] = [];
const children: ChildProcess[] = [];
let seed: Promise<string> | undefined;

/** An empty directory that the user who runs PostgreSQL can enter, or with 0o700 one that only we can. */
export async function makeScratch(mode = 0o711): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "perdure-embedded-"));
  directories.push(directory);
  await chmod(directory, mode);
  return directory;
}

/** A directory with an empty database that is not running: a copy, because making one takes seconds on a busy machine. */
export async function makeSeeded(): Promise<string> {
  seed ??= makeSeed();
  const from = await seed;
  const directory = await makeScratch();
  await promisify(execFile)("cp", ["-a", `${from}/.`, directory]);
  return directory;
}

async function makeSeed(): Promise<string> {
  const directory = await makeScratch();
  directories.splice(directories.indexOf(directory), 1);
  await (await startEmbeddedPostgres({ dataDir: directory })).stop();
  return directory;
}

/** To be called once after all tests. */
export async function removeSeed(): Promise<void> {
  const directory = await seed;
  seed = undefined;
  if (directory !== undefined) await rm(directory, { recursive: true, force: true });
}

/** Something that a test found outside its scratch directory. */
export function alsoRemove(directory: string): void {
  directories.push(directory);
}

/** Removes everything; to be called after each test, however it ended. */
export async function cleanUp(): Promise<void> {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const directory of directories.splice(0)) {
    const pid = pidIn(directory);
    if (pid !== undefined) await killHard(pid);
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The pid in a data directory's postmaster.pid, if PostgreSQL really runs there. */
function pidIn(directory: string): number | undefined {
  try {
    const data = join(directory, "postgres", "data");
    const pid = Number(readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[0]);
    if (process.platform === "linux" && readlinkSync(`/proc/${pid}/cwd`) !== data) return undefined;
    return pid;
  } catch {
    return undefined;
  }
}

export function spawnHolder(dataDir: string, user?: { uid: number; gid: number }): ChildProcess {
  const child = spawn(process.execPath, [HOLDER, dataDir], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { PATH: process.env.PATH },
    ...user,
  });
  children.push(child);
  return child;
}

/** Starts a server process on the directory and waits for what it says. */
export async function startHolder(dataDir: string, user?: { uid: number; gid: number }): Promise<Holder> {
  const child = spawnHolder(dataDir, user);
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    return { child, ...(JSON.parse(line) as Omit<Holder, "child">) };
  }
  throw new Error("the server process ended without a word");
}

export async function killHolder({ child }: Pick<Holder, "child">, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

export async function killHard(pid: number): Promise<void> {
  if (await isAlive(pid)) process.kill(pid, "SIGKILL");
  await until(async () => !(await isAlive(pid)), `process ${pid} is gone`);
}

/** Polls a condition that can be observed, with a deadline. */
export async function until(holds: () => Promise<boolean>, what: string, limitMs = 20_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await delay(20);
  }
}

export async function query<T extends object>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

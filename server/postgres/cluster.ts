// Owns the files of the database cluster: creates it once, recognises another version's, knows its password and
// its last port. A cluster appears under its name only when complete. Starts nothing that keeps running.
import { randomBytes } from "node:crypto";
import { chmod, chown, lstat, mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Binaries } from "./binaries.ts";
import { codeOf, EmbeddedPostgresError } from "./errors.ts";
import type { Identity } from "./identity.ts";
import { isAlive } from "./postmaster.ts";
import { runProgram } from "./program.ts";

export interface Cluster {
  /** PostgreSQL's own data directory. */
  readonly data: string;
  readonly log: string;
  readonly portFile: string;
  readonly password: string;
  readonly created: boolean;
}

export const SUPERUSER = "postgres";
const STAGING = "postgres.new-";
const LEFTOVER_AGE_MS = 600_000;

/** Written to postgresql.conf once; an operator may edit them there afterwards. fsync and its relatives stay on. */
const SETTINGS: Record<string, string> = {
  shared_buffers: "128MB",
  max_connections: "100",
  // After a checkpoint the first change of each page is logged whole: under load most of what is written, if they follow one another.
  max_wal_size: "2GB",
  checkpoint_timeout: "15min",
  wal_compression: "on",
  // Queues are small and emptied all the time: looked at often, each look is short.
  autovacuum_naptime: "10s",
  timezone: "UTC",
  log_timezone: "UTC",
  log_checkpoints: "off",
  // Queue queries are short and indexed: compiling or parallelising them costs more than it gains, and parallel
  // workers need more shared memory than a container has by default.
  jit: "off",
  max_parallel_workers_per_gather: "0",
};

/** Whether `ensureCluster` would find one. */
export async function hasCluster(home: string): Promise<boolean> {
  return isThere(join(home, "postgres", "data", "PG_VERSION"));
}

export async function ensureCluster(
  home: string,
  binaries: Binaries,
  identity: Identity | undefined,
): Promise<Cluster> {
  const directory = join(home, "postgres");
  const data = join(directory, "data");
  await removeLeftovers(home);
  let created = false;
  let version = await readIfThere(join(data, "PG_VERSION"));
  if (version === undefined) {
    if (await isThere(directory)) {
      throw new EmbeddedPostgresError(
        "data_directory_unusable",
        `${directory} exists but holds no PostgreSQL database. Perdure does not overwrite it: move it away, or set PERDURE_DATA_DIR.`,
      );
    }
    created = await createCluster(home, directory, binaries, identity);
    version = await readIfThere(join(data, "PG_VERSION"));
  }
  const major = Number(version?.trim());
  if (major !== binaries.major) {
    throw new EmbeddedPostgresError(
      "data_directory_version",
      `The database in ${directory} was written by PostgreSQL ${version?.trim()}; this Perdure brings PostgreSQL ${binaries.major}, ` +
        "which cannot read it. Nothing was changed. Start the Perdure version that wrote it and move the data over with " +
        "pg_dump and psql, run a PostgreSQL of that version and set DATABASE_URL, or set PERDURE_DATA_DIR to begin anew.",
    );
  }
  const password = (await readIfThere(join(directory, "password")))?.trim();
  if (password === undefined || password === "") {
    throw new EmbeddedPostgresError(
      "data_directory_unusable",
      `${join(directory, "password")} is missing: without it nobody can connect to the database. Restore it from a backup.`,
    );
  }
  return { data, log: join(directory, "postgres.log"), portFile: join(directory, "port"), password, created };
}

/** Builds the cluster beside its final name, then renames: a start that is killed here leaves nothing half done. */
async function createCluster(
  home: string,
  directory: string,
  binaries: Binaries,
  identity: Identity | undefined,
): Promise<boolean> {
  const staging = join(home, `${STAGING}${process.pid}-${randomBytes(4).toString("hex")}`);
  const passwordFile = join(staging, "password");
  await mkdir(staging, { mode: 0o700 });
  try {
    await chmod(staging, 0o700);
    await writeSynced(passwordFile, `${randomBytes(32).toString("base64url")}\n`);
    if (identity !== undefined) {
      for (const path of [staging, passwordFile]) await chown(path, identity.uid, identity.gid);
    }
    const { ok, output } = await runProgram(binaries.initdb, initArguments(staging, passwordFile), identity);
    if (!ok) {
      throw new EmbeddedPostgresError(
        "postgres_start_failed",
        `The database could not be created in ${home}: ${output || "initdb said nothing"}`,
      );
    }
    return await renameSynced(staging, directory, home);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

function initArguments(staging: string, passwordFile: string): string[] {
  const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return [
    `--pgdata=${join(staging, "data")}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    // Sorting is by code point everywhere, so an index stays valid whatever libc the next machine has.
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    ...settings,
  ];
}

/** False when another starting process was first; its cluster is then the one to use. */
async function renameSynced(staging: string, directory: string, home: string): Promise<boolean> {
  try {
    await rename(staging, directory);
  } catch (error) {
    if (["ENOTEMPTY", "EEXIST", "EPERM"].includes(codeOf(error) ?? "") && (await isThere(directory)))
      return false;
    throw error;
  }
  if (process.platform !== "win32") {
    const handle = await open(home, "r");
    await handle.sync().finally(() => handle.close());
  }
  return true;
}

async function writeSynced(path: string, text: string): Promise<void> {
  const handle = await open(path, "wx", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function removeLeftovers(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    if (!name.startsWith(STAGING)) continue;
    const path = join(home, name);
    const pid = Number(name.slice(STAGING.length).split("-")[0]);
    // In a container every start may have the same pid, ours included; no initdb takes minutes.
    const age = Date.now() - ((await lstat(path).catch(() => undefined))?.mtimeMs ?? 0);
    if ((await isAlive(pid)) && age < LEFTOVER_AGE_MS) continue;
    // An initdb whose parent was killed may still be writing there; what stays is removed another time.
    await rm(path, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
  }
}

export async function rememberedPort(cluster: Cluster): Promise<number | undefined> {
  const port = Number(await readIfThere(cluster.portFile));
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

export async function rememberPort(cluster: Cluster, port: number): Promise<void> {
  await writeFile(cluster.portFile, `${port}\n`);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

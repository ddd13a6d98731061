// A streaming standby of an embedded PostgreSQL, made and promoted with nothing but what npm installed: a low-level base backup.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chown, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { locateBinaries } from "../../server/postgres/binaries.ts";
import type { EmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { findPlace } from "../../server/postgres/place.ts";
import { programOptions } from "../../server/postgres/program.ts";
import { until } from "../support/until.ts";
import { freePort } from "./processes.ts";
import { adopt } from "./reaper.ts";

export interface Standby {
  /** For the server's own role, as of its primary; answers reads until it is promoted. */
  readonly url: string;
  readonly pid: number;
  /** Takes over: from now on it may be written to. What the primary had not sent is lost. */
  promote(): Promise<void>;
  stop(): Promise<void>;
}

export interface StandbyOptions {
  /** Made here, and the caller's to remove. */
  readonly home: string;
  /** Where the primary is for the standby, when a proxy stands in between. */
  readonly port?: number;
  /** The primary answers no commit before the standby has it. */
  readonly synchronous: boolean;
}

const NAME = "standby";
const PATIENCE_MS = 60_000;
const QUIET = { fsync: "off", full_page_writes: "off", max_connections: "200" };

export async function openStandby(primary: EmbeddedPostgres, options: StandbyOptions): Promise<Standby> {
  const { home, synchronous } = options;
  const superuser = new URL(primary.url);
  superuser.username = "postgres";
  const data = join(home, "postgres/data");
  await copyOf(primary, superuser, home);
  const port = options.port ?? Number(superuser.port);
  const conninfo = `host=127.0.0.1 port=${port} user=postgres password=${decodeURIComponent(superuser.password)} application_name=${NAME}`;
  await writeOwned(
    join(data, "postgresql.auto.conf"),
    `primary_conninfo = '${conninfo}'\nprimary_slot_name = '${NAME}'\n`,
  );
  await writeOwned(join(data, "standby.signal"), "");

  const own = new URL(superuser);
  own.port = String(await freePort());
  const runs = await keepRunning(home, data, own.port);
  await withClient(superuser, async (client) => {
    await until(
      "the standby streams",
      async () =>
        (await client.query("select 1 from pg_stat_replication where state = 'streaming'")).rowCount === 1,
      PATIENCE_MS,
    );
    if (!synchronous) return;
    await client.query(`alter system set synchronous_standby_names = '${NAME}'`);
    await client.query("select pg_reload_conf()");
    await until(
      "the primary waits for the standby",
      async () =>
        (await client.query("select 1 from pg_stat_replication where sync_state = 'sync'")).rowCount === 1,
      PATIENCE_MS,
    );
  });
  const url = new URL(primary.url);
  url.port = own.port;
  return {
    url: url.href,
    get pid() {
      return runs.child.pid ?? 0;
    },
    promote: () =>
      withClient(own, async (client) => {
        await client.query("select pg_promote(true, 60)");
      }),
    stop: () => runs.stop(),
  };
}

/** The primary's files while it works, made whole by what it logs from here on. */
async function copyOf(primary: EmbeddedPostgres, superuser: URL, home: string): Promise<void> {
  const data = join(home, "postgres/data");
  await withClient(superuser, async (client) => {
    await client.query("select pg_create_physical_replication_slot($1, true)", [NAME]);
    await client.query("select pg_backup_start($1, true)", [NAME]);
    await promisify(execFile)("cp", ["-a", primary.dataDir, home]).catch((error) => {
      // What PostgreSQL removes meanwhile is not missed.
      if (!/No such file/.test(String(error.stderr))) throw error;
    });
    const { rows } = await client.query("select labelfile from pg_backup_stop(false)");
    await writeOwned(join(data, "backup_label"), rows[0]?.labelfile);
  });
  for (const name of ["postmaster.pid", "postmaster.opts"]) await rm(join(data, name), { force: true });
  for (const emptied of ["pg_wal", "pg_replslot"])
    for (const entry of await readdir(join(data, emptied), { withFileTypes: true }))
      if (entry.isFile() || emptied === "pg_replslot")
        await rm(join(data, emptied, entry.name), { recursive: true });
}

/** PostgreSQL runs as whoever owns its directory. */
async function writeOwned(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600 });
  const { uid, gid } = await stat(join(path, ".."));
  await chown(path, uid, gid);
}

/** As a supervisor does: killed, it comes back on the same port. */
async function keepRunning(home: string, data: string, port: string) {
  const place = await findPlace(home);
  const { postgres } = await locateBinaries(place.identity, place.copyBase);
  let ended = false;
  const start = (): ChildProcess => {
    const settings = { ...QUIET, listen_addresses: "127.0.0.1", port, unix_socket_directories: "" };
    const args = [
      "-D",
      data,
      ...Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`]),
    ];
    const child = spawn(postgres, args, { ...programOptions(place.identity), stdio: "ignore" });
    adopt(child);
    child.once("exit", () => {
      // Its children need a moment to notice, and a start too early fails: then it is tried again.
      setTimeout(() => {
        if (!ended) runs.child = start();
      }, 200);
    });
    return child;
  };
  const runs = {
    child: start(),
    async stop() {
      ended = true;
      const { child } = runs;
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGQUIT");
      await gone;
    },
  };
  return runs;
}

async function withClient<T>(url: URL, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const to = new URL(url);
  to.pathname = "/postgres";
  const client = new pg.Client({ connectionString: to.href });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

// Owns the one PostgreSQL of a run: the embedded one on a fresh directory, durable, with a database for each that asks.

import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../server/postgres/embedded.ts";

export interface Postgres {
  /** Of the superuser, on the database `postgres`. */
  readonly adminUrl: string;
  readonly pid: number;
  readonly version: string;
  /** What may change the figures, as `SHOW` tells it. */
  readonly settings: Readonly<Record<string, string>>;
  createDatabase(): Promise<string>;
  dropDatabase(url: string): Promise<void>;
  /** From now on the statements of new sessions of this database are counted; the answer tells how many there were. */
  countStatements(url: string): Promise<() => Promise<number>>;
  stop(): Promise<void>;
}

/**
 * As the product's own PostgreSQL is set up, but for the connections: several servers and their peers are connected at once. Statements are
 * counted only where a workload asks for it.
 */
const SETTINGS = {
  max_connections: "400",
  shared_preload_libraries: "pg_stat_statements",
  "pg_stat_statements.track": "none",
};
const SHOWN = [
  "fsync",
  "synchronous_commit",
  "full_page_writes",
  "shared_buffers",
  "max_wal_size",
  "wal_compression",
  "checkpoint_timeout",
  "autovacuum",
  "max_connections",
];
const DURABLE = ["fsync", "synchronous_commit", "full_page_writes"];

export async function asAdmin<T>(url: string, use: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client({ connectionString: url, application_name: "bench" });
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.end();
  }
}

/** Starts it and refuses to go on unless what is committed is on disk. */
export async function startPostgres(): Promise<Postgres> {
  const directory = await mkdtemp(join(tmpdir(), "perdure-bench-"));
  // Started as root, PostgreSQL runs as another user and has to get through.
  await chmod(directory, 0o711);
  const remove = () => rm(directory, { recursive: true, force: true });
  const embedded = await startEmbeddedPostgres({ dataDir: directory, settings: SETTINGS }).catch(
    async (error) => {
      await remove();
      throw error;
    },
  );
  const stop = async () => {
    await embedded.stop();
    await rm(embedded.dataDir, { recursive: true, force: true });
    await remove();
  };
  try {
    const url = await superuserUrl(embedded);
    const settings = await asAdmin(url.href, readSettings);
    const lax = DURABLE.filter((name) => settings[name] !== "on");
    if (lax.length > 0) throw new Error(`PostgreSQL is not durable: ${lax.join(", ")} must be on`);
    await asAdmin(url.href, (admin) => admin.query("create extension pg_stat_statements"));
    const version = await asAdmin(url.href, (admin) => show(admin, "server_version"));
    return {
      adminUrl: url.href,
      pid: embedded.pid,
      version,
      settings,
      createDatabase: () => createDatabase(url.href),
      dropDatabase: (database) => dropDatabase(url.href, database),
      countStatements: (database) => countStatements(url.href, database),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function superuserUrl(embedded: EmbeddedPostgres): Promise<URL> {
  const password = await readFile(join(embedded.dataDir, "postgres", "password"), "utf8");
  const url = new URL(embedded.url);
  url.username = "postgres";
  url.password = encodeURIComponent(password.trim());
  url.pathname = "/postgres";
  return url;
}

const show = async (admin: pg.Client, name: string): Promise<string> =>
  Object.values((await admin.query(`show ${name}`)).rows[0])[0] as string;

async function readSettings(admin: pg.Client): Promise<Record<string, string>> {
  const settings: Record<string, string> = {};
  for (const name of SHOWN) settings[name] = await show(admin, name);
  return settings;
}

async function createDatabase(adminUrl: string): Promise<string> {
  const name = `bench_${randomBytes(6).toString("hex")}`;
  await asAdmin(adminUrl, (admin) => admin.query(`create database ${name}`));
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return url.href;
}

const databaseOf = (url: string) => new URL(url).pathname.slice(1);

async function countStatements(adminUrl: string, url: string): Promise<() => Promise<number>> {
  const name = databaseOf(url);
  await asAdmin(adminUrl, (admin) =>
    admin.query(`alter database "${name}" set pg_stat_statements.track = 'all'`),
  );
  const counted = `select coalesce(sum(calls), 0)::int as calls from pg_stat_statements s join pg_database d on d.oid = s.dbid
    where datname = $1`;
  return () => asAdmin(adminUrl, async (admin) => (await admin.query(counted, [name])).rows[0].calls);
}

async function dropDatabase(adminUrl: string, url: string): Promise<void> {
  const name = databaseOf(url);
  await asAdmin(adminUrl, (admin) => admin.query(`drop database if exists "${name}" with (force)`));
}

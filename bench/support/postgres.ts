// Owns the one PostgreSQL of a run: the embedded one on a fresh directory, durable, with a database for each that asks.

import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startEmbeddedPostgres } from "../../server/postgres/embedded.ts";

export interface Postgres {
  /** Of the superuser, on the database `postgres`. */
  readonly adminUrl: string;
  readonly pid: number;
  readonly version: string;
  /** What may change the figures, as `SHOW` tells it. */
  readonly settings: Readonly<Record<string, string>>;
  createDatabase(): Promise<string>;
  dropDatabase(url: string): Promise<void>;
  stop(): Promise<void>;
}

/** As the product's own PostgreSQL is set up, but for the connections: several servers and their peers are connected at once. */
const SETTINGS = { max_connections: "400" };
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
  const url = new URL(embedded.url);
  url.pathname = "/postgres";
  try {
    const settings = await asAdmin(url.href, readSettings);
    const lax = DURABLE.filter((name) => settings[name] !== "on");
    if (lax.length > 0) throw new Error(`PostgreSQL is not durable: ${lax.join(", ")} must be on`);
    const version = await asAdmin(url.href, (admin) => show(admin, "server_version"));
    return {
      adminUrl: url.href,
      pid: embedded.pid,
      version,
      settings,
      createDatabase: () => createDatabase(url.href),
      dropDatabase: (database) => dropDatabase(url.href, database),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
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

async function dropDatabase(adminUrl: string, url: string): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  await asAdmin(adminUrl, (admin) => admin.query(`drop database if exists "${name}" with (force)`));
}

// Brings a database to this build's schema: plain forward-only .sql files under migrations/, one transaction each,
// safe when several servers start at once. A schema newer than this build is refused.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { withFirstContact } from "./first-contact.ts";

/** One process migrates at a time: "perdure" in ASCII, below 2^63. */
const MIGRATION_LOCK = "8097858447098865";
const LOCK_TIMEOUT_MS = 60_000;

/**
 * Servers of before work on beside all other migrations. Beside these they would store what the new tables then do not know of: they
 * have to end first.
 */
const NOT_BESIDE_OLDER_SERVERS: ReadonlySet<string> = new Set(["0009_live"]);
/** Servers that work look at the database every second, unless their settings say otherwise. */
const SILENT_MS = 10_000;
const LOOK_MS = 250;

/** Servers at work and a migration lock the same tables in another order: one of the two has to try again. */
const TRIES = 5;
const IN_THE_WAY = new Set(["40P01", "55P03"]);

export interface Migration {
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

export class SchemaError extends Error {}

/** The migrations folder beside the package's own files, whether run from source or from dist. */
function migrationsFolder(): URL {
  for (const up of ["../../migrations/", "../../../migrations/"]) {
    const url = new URL(up, import.meta.url);
    try {
      readdirSync(fileURLToPath(url));
      return url;
    } catch {
      // Not this one: source and dist lie at different depths.
    }
  }
  throw new SchemaError("the migrations folder is missing from this installation");
}

export function readMigrations(): Migration[] {
  const folder = fileURLToPath(migrationsFolder());
  return readdirSync(folder)
    .filter((file) => file.endsWith(".sql"))
    .sort()
    .map((file) => {
      const sql = readFileSync(`${folder}${file}`, "utf8");
      return {
        name: file.replace(/\.sql$/, ""),
        sql,
        checksum: createHash("sha256").update(sql).digest("hex"),
      };
    });
}

export interface MigrateOptions {
  /** So long after its last sign of life another server counts as ended. */
  readonly silentMs?: number;
  /** Other servers have to end first, and are waited for. */
  readonly onWait?: (others: number) => void;
}

/** Applies what is missing and returns the names applied. */
export function migrate(connectionString: string, options: MigrateOptions = {}): Promise<string[]> {
  // Ending the session releases the advisory lock, also after a failure.
  return withFirstContact(connectionString, async (client) => {
    await refuseOldServer(client);
    await client.query(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await client.query(`select pg_advisory_lock(${MIGRATION_LOCK})`);
    await client.query(
      "create table if not exists perdure_migrations (name text primary key, checksum text not null, applied_at timestamptz not null default now())",
    );
    const missing = await findMissing(client, readMigrations());
    // Without a log of migrations there was no server yet either.
    const mustBeAlone = missing.find(({ name }) => NOT_BESIDE_OLDER_SERVERS.has(name));
    if (mustBeAlone !== undefined && missing[0]?.name !== "0001_foundation")
      await waitUntilAlone(client, mustBeAlone.name, options);
    for (const migration of missing) await apply(client, migration);
    return missing.map(({ name }) => name);
  });
}

async function refuseOldServer(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  const version = rows[0]?.version ?? 0;
  if (version < 150_000) {
    throw new SchemaError(`PostgreSQL 15 or newer is needed; this server is ${Math.floor(version / 10_000)}`);
  }
}

async function findMissing(client: pg.Client, migrations: readonly Migration[]): Promise<Migration[]> {
  const { rows } = await client.query<{ name: string; checksum: string }>(
    "select name, checksum from perdure_migrations order by name",
  );
  const known = new Map(migrations.map((migration) => [migration.name, migration]));
  for (const row of rows) {
    const migration = known.get(row.name);
    if (migration === undefined) {
      throw new SchemaError(
        `the database has migration ${row.name}, which this build does not know: start the newer Perdure that made it`,
      );
    }
    if (migration.checksum !== row.checksum) {
      throw new SchemaError(
        `migration ${row.name} was changed after it was applied: a landed migration must never change`,
      );
    }
  }
  const applied = new Set(rows.map((row) => row.name));
  return migrations.filter((migration) => !applied.has(migration.name));
}

/** One that was killed leaves its last sign of life behind: no answer before that is old. */
async function waitUntilAlone(
  client: pg.Client,
  name: string,
  { silentMs = SILENT_MS, onWait }: MigrateOptions,
): Promise<void> {
  const end = performance.now() + silentMs + LOOK_MS;
  for (let looks = 0; ; looks += 1) {
    const { rows } = await client.query<{ others: number }>(
      "select count(*)::int as others from replicas where pulsed_at > perdure_now() - make_interval(secs => $1::float8 / 1000)",
      [silentMs],
    );
    const others = rows[0]?.others ?? 0;
    if (others === 0) return;
    if (looks === 0) onWait?.(others);
    if (performance.now() > end) {
      throw new SchemaError(
        `migration ${name} cannot be made while older servers work on the database (${others} of them now): stop them all, then start one of this version. Work waits meanwhile, and agents keep what they hold`,
      );
    }
    await delay(LOOK_MS);
  }
}

/** All of it or nothing, and once more if it and the servers at work were in each other's way. */
async function apply(client: pg.Client, { name, sql, checksum }: Migration): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    await client.query("begin");
    try {
      await client.query(sql);
      await client.query("insert into perdure_migrations (name, checksum) values ($1, $2)", [name, checksum]);
      await client.query("commit");
      return;
    } catch (error) {
      await client.query("rollback");
      if (!IN_THE_WAY.has(String((error as { code?: unknown }).code))) throw error;
      if (tries === TRIES) {
        throw new SchemaError(
          `migration ${name} got no lock on its tables in ${TRIES} tries: end what holds a transaction open in the database (pg_stat_activity says who), then start again`,
        );
      }
    }
  }
}

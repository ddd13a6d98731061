// Brings a database to this build's schema: plain forward-only .sql files under migrations/, one transaction each,
// safe when several servers start at once. A schema newer than this build is refused.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { withFirstContact } from "./first-contact.ts";

/** One process migrates at a time: "perdure" in ASCII, below 2^63. */
const MIGRATION_LOCK = "8097858447098865";
const LOCK_TIMEOUT_MS = 60_000;

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

/** Applies what is missing and returns the names applied. */
export function migrate(connectionString: string): Promise<string[]> {
  // Ending the session releases the advisory lock, also after a failure.
  return withFirstContact(connectionString, async (client) => {
    await refuseOldServer(client);
    await client.query(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await client.query(`select pg_advisory_lock(${MIGRATION_LOCK})`);
    await client.query(
      "create table if not exists perdure_migrations (name text primary key, checksum text not null, applied_at timestamptz not null default now())",
    );
    return applyMissing(client, readMigrations());
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

async function applyMissing(client: pg.Client, migrations: readonly Migration[]): Promise<string[]> {
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
  const done: string[] = [];
  for (const migration of migrations) {
    if (applied.has(migration.name)) continue;
    await client.query("begin");
    try {
      await client.query(migration.sql);
      await client.query("insert into perdure_migrations (name, checksum) values ($1, $2)", [
        migration.name,
        migration.checksum,
      ]);
      await client.query("commit");
    } catch (error) {
      await client.query("rollback");
      throw error;
    }
    done.push(migration.name);
  }
  return done;
}

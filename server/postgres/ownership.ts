// Owns the rule "one server per data directory": an advisory lock, held by a session for as long as the server
// lives. The operating system ends the session when the process dies, however it dies, so nothing can be left
// over that blocks the next start. Also prepares the role and the database that the server then uses.

import { realpath } from "node:fs/promises";
import { hostname } from "node:os";
import pg from "pg";
import { type Cluster, SUPERUSER } from "./cluster.ts";
import { codeOf, EmbeddedPostgresError } from "./errors.ts";

export const DATABASE = "perdure";
export const ROLE = "perdure";
const HOST = "127.0.0.1";
/** Any constant; it only has to be the same in every version of Perdure. */
const LOCK = "7070, 1";
/** The session of a server killed a moment ago may still be closing. */
const LOCK_WAIT_MS = 2_500;
const LOCK_NOT_AVAILABLE = "55P03";
const REFUSED_PASSWORD = "28P01";

export interface Ownership {
  /** Settles when the session ends for whatever reason. */
  readonly lost: Promise<void>;
  release(): Promise<void>;
}

/**
 * Takes the lock or throws `data_directory_in_use`. Errors of the connection (PostgreSQL is starting, stopping or
 * gone) come as they are: the caller tries again.
 */
export async function takeOwnership(cluster: Cluster, port: number): Promise<Ownership> {
  const client = new pg.Client({
    host: HOST,
    port,
    user: SUPERUSER,
    password: cluster.password,
    database: "postgres",
    application_name: `perdure server, process ${process.pid} on ${hostname()}`.slice(0, 63),
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
  });
  const lost = new Promise<void>((resolve) => {
    client.on("end", () => resolve());
    client.on("error", () => resolve());
  });
  const release = async (): Promise<void> => {
    await client.end().catch(() => {});
  };
  try {
    await client.connect();
    await checkDirectory(client, cluster);
    await lock(client, cluster);
    await prepareDatabase(client, cluster.password);
    return { lost, release };
  } catch (error) {
    await release();
    if (codeOf(error) !== REFUSED_PASSWORD) throw error;
    throw new EmbeddedPostgresError(
      "data_directory_unusable",
      `The PostgreSQL on port ${port} does not accept the password kept beside ${cluster.data}. Restore the file "password" from a backup.`,
      { cause: error },
    );
  }
}

async function checkDirectory(client: pg.Client, cluster: Cluster): Promise<void> {
  const { rows } = await client.query<{ data_directory: string }>("show data_directory");
  const actual = rows[0]?.data_directory ?? "";
  if ((await realpath(actual).catch(() => actual)) !== cluster.data) {
    throw new EmbeddedPostgresError(
      "data_directory_unusable",
      `The PostgreSQL that answers for ${cluster.data} works on ${actual}. Stop it, then start Perdure again.`,
    );
  }
}

async function lock(client: pg.Client, cluster: Cluster): Promise<void> {
  try {
    await client.query(`set lock_timeout = ${LOCK_WAIT_MS}`);
    await client.query(`select pg_advisory_lock(${LOCK})`);
    await client.query("reset lock_timeout");
  } catch (error) {
    if (codeOf(error) !== LOCK_NOT_AVAILABLE) throw error;
    const { rows } = await client.query<{ holder: string }>(
      `select a.application_name as holder
         from pg_locks l join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'advisory' and (l.classid, l.objid) = (${LOCK}) and l.granted`,
    );
    throw new EmbeddedPostgresError(
      "data_directory_in_use",
      `The database in ${cluster.data} is in use by another ${rows[0]?.holder ?? "perdure server"}. ` +
        "Stop that one first, or give this one a directory of its own with PERDURE_DATA_DIR.",
      { cause: error },
    );
  }
}

/** The server works as an ordinary role: what an injected statement could do ends at its own database. */
async function prepareDatabase(client: pg.Client, password: string): Promise<void> {
  const role = await client.query("select 1 from pg_roles where rolname = $1", [ROLE]);
  if (role.rowCount === 0) {
    await client.query(`create role ${ROLE} login createdb password ${client.escapeLiteral(password)}`);
  }
  const database = await client.query("select 1 from pg_database where datname = $1", [DATABASE]);
  if (database.rowCount === 0) await client.query(`create database ${DATABASE} owner ${ROLE}`);
}

export function connectionUrl(cluster: Cluster, port: number): string {
  return `postgres://${ROLE}:${encodeURIComponent(cluster.password)}@${HOST}:${port}/${DATABASE}`;
}

// Opens PostgreSQL connections: pools, type parsing, and which errors mean "the database is away".
// Times come back as epoch milliseconds, JSON as untouched text (RawJson at the mapper), bigint as number.

import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import type { Database } from "./database.ts";

const JSON_OIDS = new Set([114, 3802]);
const TIMESTAMPTZ = 1184;
const INT8 = 20;

function parseTimestamp(text: string): number {
  // 2026-01-02 03:04:05.678901+00
  const iso = `${text.replace(" ", "T")}${/[+-]\d\d$/.test(text) ? ":00" : ""}`;
  return Date.parse(iso);
}

export const typeParsers: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") => {
    if (oid === TIMESTAMPTZ) return parseTimestamp;
    if (oid === INT8) return Number;
    if (JSON_OIDS.has(oid)) return (text: string) => text;
    return pg.types.getTypeParser(oid, format as "text");
  }) as pg.CustomTypesConfig["getTypeParser"],
};

export interface StoreOptions {
  readonly connectionString: string;
  readonly poolMax: number;
  readonly applicationName?: string;
  /** Called when an idle connection breaks; the pool replaces it by itself. */
  readonly onError?: (error: Error) => void;
}

export interface Store {
  readonly db: Kysely<Database>;
  readonly pool: pg.Pool;
  /** Pipelined connections of the write path, planned for narrow keyed access. */
  readonly writers: pg.Pool;
  end(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const WRITERS = 4;

export function openStore(options: StoreOptions): Store {
  const base: pg.PoolConfig = {
    connectionString: options.connectionString,
    types: typeParsers,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    application_name: options.applicationName ?? "perdure",
    onConnect: tune,
  } as pg.PoolConfig;
  const pool = new pg.Pool({ ...base, max: options.poolMax });
  const writers = new pg.Pool({
    ...base,
    pipeline: true,
    max: WRITERS,
    idleTimeoutMillis: 0,
  } as pg.PoolConfig);
  for (const each of [pool, writers]) {
    each.on("error", (error) => options.onError?.(error));
    // The pool listens only to idle clients. One that breaks while it works fails its queries, which is enough;
    // without a listener of its own the event would end the process.
    each.on("connect", (client) => client.on("error", () => undefined));
  }
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  let ended: Promise<void> | undefined;
  return {
    db,
    pool,
    writers,
    end() {
      ended ??= Promise.all([endReaders(db, pool), writers.end()]).then(() => undefined);
      return ended;
    },
  };
}

/** kysely ends the pool only when it has been used through kysely. */
async function endReaders(db: Kysely<Database>, pool: pg.Pool): Promise<void> {
  await db.destroy();
  if (!pool.ending) await pool.end();
}

// Every query here is keyed or a keyset page. Prepared plans made while the tables are empty would keep sequential
// scans for ever.
async function tune(client: pg.ClientBase): Promise<void> {
  await client.query(
    "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off; set synchronous_commit = on",
  );
}

const RETRY_CODES = new Set(["23505", "40001", "40P01"]);

/** A conflict that a fresh look resolves: unique violation, serialization failure, deadlock. */
export function isConflict(error: unknown): boolean {
  return RETRY_CODES.has(codeOf(error));
}

// pg gives these no code, so their words are all there is to go by.
const CODELESS =
  /^(?:Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed)/;

/** pg's own words for a connection that was lost or could not be made. */
export function isCodelessDisconnect(error: unknown): boolean {
  return error instanceof Error && codeOf(error) === "" && CODELESS.test(error.message);
}

/** The connection or the server went away: nothing is known about a commit that was under way. */
export function isConnectionError(error: unknown): boolean {
  const code = codeOf(error);
  if (code === "") return isCodelessDisconnect(error);
  return code.startsWith("08") || code.startsWith("57P0") || code === "53300" || /^E[A-Z]+$/.test(code);
}

/** PostgreSQL answered with an error of its own: the transaction is certainly undone. */
export function isRefusedByDatabase(error: unknown): boolean {
  return /^[0-9A-Z]{5}$/.test(codeOf(error)) && !isConnectionError(error);
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

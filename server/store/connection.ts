// Opens PostgreSQL connections: pools, how long each may wait for what, type parsing, and which errors mean "the database is away".
// Times come back as epoch milliseconds, JSON as untouched text (RawJson at the mapper), bigint as number.

import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import type { Database } from "./database.ts";
import { HotRows } from "./hot-rows.ts";
import { QueueHeads } from "./queue-heads.ts";

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
  /** How long a statement waits for a row that another transaction holds. */
  readonly lockTimeoutMs: number;
  /** How long PostgreSQL waits for the next statement of a transaction before it ends it. */
  readonly idleTransactionMs: number;
  /** How long an answer may take before its connection is given up. */
  readonly queryTimeoutMs: number;
  readonly applicationName?: string;
  /** Intents at work that are kept in memory. Default: none. */
  readonly hotRowsMax?: number;
  /** Called when an idle connection breaks; the pool replaces it by itself. */
  readonly onError?: (error: Error) => void;
}

export interface Store {
  readonly db: Kysely<Database>;
  readonly pool: pg.Pool;
  /** Connections of the group commit. Nothing else may take one: what waits elsewhere must not hold up the writes. */
  readonly writers: pg.Pool;
  /** The same for transactions outside it, which lock consumers first. */
  readonly transactors: pg.Pool;
  readonly queues: QueueHeads;
  readonly hotRows: HotRows;
  end(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** Two flushes, and the one that tries again what was held up. */
const WRITERS = 3;
const TRANSACTORS = 4;
/** A connection on which nothing is said is asked for a sign of life after so long; some ten seconds later it is given up. */
const KEEP_ALIVE_MS = 10_000;

export function openStore(options: StoreOptions): Store {
  const base: pg.PoolConfig = {
    connectionString: options.connectionString,
    types: typeParsers,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    application_name: options.applicationName ?? "perdure",
    query_timeout: options.queryTimeoutMs,
    // For reads too: only a pipelined client closes its connection when an answer is overdue, instead of using it again.
    pipeline: true,
  } as pg.PoolConfig;
  const reads = { ...base, onConnect: (client: pg.ClientBase) => tune(client, options, PLANS) };
  const writes = {
    ...base,
    idleTimeoutMillis: 0,
    onConnect: (client: pg.ClientBase) => tune(client, options, `${PLANS}; ${PLAN_ONCE}`),
  };
  const pool = openPool({ ...reads, max: options.poolMax });
  const writers = new pg.Pool({ ...writes, max: WRITERS });
  const transactors = openPool({ ...writes, max: TRANSACTORS });
  for (const each of [pool, writers, transactors]) {
    each.on("error", (error) => options.onError?.(error));
    // The pool listens only to idle clients. One that breaks while it works fails its queries, which is enough;
    // without a listener of its own the event would end the process.
    each.on("connect", (client) => client.on("error", () => undefined));
  }
  const hotRows = new HotRows(options.hotRowsMax ?? 0);
  const queues = new QueueHeads();
  const doubt = () => {
    hotRows.clear();
    queues.forget();
  };
  for (const each of [writers, transactors]) each.on("remove", doubt);
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  let ended: Promise<void> | undefined;
  return {
    db,
    pool,
    writers,
    transactors,
    queues,
    hotRows,
    end() {
      ended ??= Promise.all([endReaders(db, pool), writers.end(), transactors.end()]).then(() => undefined);
      return ended;
    },
  };
}

/** What finds its plan outgrown has done nothing, and the pool gives its connection up: the next one is asked. */
async function outlivePlans<T>(connections: number, ask: () => Promise<T>): Promise<T> {
  for (let left = connections; ; left -= 1) {
    try {
      return await ask();
    } catch (error) {
      if (left === 0 || !isOutgrownPlan(error)) throw error;
    }
  }
}

/** For queries that the pool is asked itself, too. */
function openPool(config: pg.PoolConfig & { readonly max: number }): pg.Pool {
  const pool = new pg.Pool(config);
  const query = pool.query.bind(pool) as (...asked: unknown[]) => Promise<unknown>;
  const asked = (...args: unknown[]) => outlivePlans(config.max, () => query(...args));
  pool.query = asked as typeof pool.query;
  return pool;
}

/** Whether the database answers; it takes as long as the answer does. */
export function isAnswering({ pool }: Pick<Store, "pool">): Promise<boolean> {
  return pool.query("select 1").then(
    () => true,
    () => false,
  );
}

interface Corked {
  readonly connection: { readonly stream: { cork(): void; uncork(): void } };
}

/** What is sent in this turn of the event loop leaves in one piece: a system call for each of twelve statements costs more than most of them. */
export function sendTogether(client: pg.ClientBase): void {
  const { stream } = (client as unknown as Corked).connection;
  stream.cork();
  process.nextTick(() => stream.uncork());
}

/** One connection for several statements that read. If something fails, its state is unknown, and it is never used again. */
export function withClient<T>(pool: pg.Pool, body: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  return outlivePlans(pool.options.max, () => withOneClient(pool, body));
}

async function withOneClient<T>(pool: pg.Pool, body: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let healthy = false;
  try {
    const value = await body(client);
    healthy = true;
    return value;
  } finally {
    client.release(!healthy);
  }
}

/** One transaction of several statements; what fails within it is undone with its connection. */
export function inTransaction<T>(pool: pg.Pool, body: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  return withClient(pool, async (client) => {
    await client.query("begin");
    const value = await body(client);
    await client.query("commit");
    return value;
  });
}

/** kysely ends the pool only when it has been used through kysely. */
async function endReaders(db: Kysely<Database>, pool: pg.Pool): Promise<void> {
  await db.destroy();
  if (!pool.ending) await pool.end();
}

// Every query here is keyed or a keyset page. Prepared plans made while the tables are empty would keep sequential
// scans for ever.
const PLANS =
  "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off; set synchronous_commit = on";

// Left to itself PostgreSQL plans the same few statements anew each time, which takes longer than they do: an array of unknown length
// looks dearer to it than the one it is given. The plan is the same.
const PLAN_ONCE = "set plan_cache_mode = force_generic_plan";

/**
 * A server that is stopped in the middle of a transaction keeps its connection and its locks: only PostgreSQL can tell, and it frees
 * them. No statement_timeout: it would also end the wait of a COMMIT for its standby, as if that had confirmed it.
 */
async function tune(client: pg.ClientBase, options: StoreOptions, plans: string): Promise<void> {
  const { lockTimeoutMs, idleTransactionMs, queryTimeoutMs } = options;
  // Two trips, each as long as we wait for it, and the pause between them. It also ends who is stopped within a long message, which
  // counts as busy; PostgreSQL 15 and 16 have nothing for that.
  const wholeMs = 2 * queryTimeoutMs + idleTransactionMs;
  await client.query(
    `${plans}; set lock_timeout = ${lockTimeoutMs}; set idle_in_transaction_session_timeout = ${idleTransactionMs};
      select set_config('transaction_timeout', '${wholeMs}', false) where current_setting('server_version_num')::int >= 170000`,
  );
}

const RETRY_CODES = new Set(["23505", "40001", "40P01"]);

/** A conflict that a fresh look resolves: unique violation, serialization failure, deadlock, a table that has become another. */
export function isConflict(error: unknown): boolean {
  return RETRY_CODES.has(codeOf(error)) || isOutgrownPlan(error);
}

/**
 * A newer server has added columns to a table, and this connection has prepared a statement that reads all of them. It says so each time:
 * another connection prepares it anew.
 */
function isOutgrownPlan(error: unknown): boolean {
  return codeOf(error) === "0A000" && (error as { routine?: unknown }).routine === "RevalidateCachedQuery";
}

/** Another transaction holds a row for longer than one waits for it: the transaction is undone. */
export function isLockTimeout(error: unknown): boolean {
  return codeOf(error) === "55P03";
}

/** Only says that a statement before it failed, which somebody else awaits. */
export function isAftermath(error: unknown): boolean {
  return codeOf(error) === "25P02";
}

// pg gives these no code, so their words are all there is to go by.
const CODELESS =
  /^(?:Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Client was closed)/;

/** pg's own words for a connection that was lost or could not be made. */
export function isCodelessDisconnect(error: unknown): boolean {
  return error instanceof Error && codeOf(error) === "" && CODELESS.test(error.message);
}

// 25P03 and 25P04: PostgreSQL ended a transaction that took too long, and the connection with it. 25006: a standby that has not taken
// over yet. 53100: its disk is full. 58030: its disk fails.
const AWAY = /^(?:08...|25P0[34]|25006|57P0.|53[13]00|58030|E[A-Z]+)$/;

/** The connection or the server went away: nothing is known about a commit that was under way. */
export function isConnectionError(error: unknown): boolean {
  const code = codeOf(error);
  if (code === "") return isCodelessDisconnect(error);
  return AWAY.test(code);
}

/** A prepared statement is unknown, or there already: another client has, or had, this connection to PostgreSQL. */
export function isSharedConnection(error: unknown): boolean {
  return /^(?:26000|42P05)$/.test(codeOf(error));
}

/** The other end did not like what was sent, such as a message that is too long, and closed the connection. */
export function isProtocolViolation(error: unknown): boolean {
  return codeOf(error) === "08P01";
}

/** PostgreSQL answered with an error of its own: the transaction is certainly undone. */
export function isRefusedByDatabase(error: unknown): boolean {
  return /^[0-9A-Z]{5}$/.test(codeOf(error)) && !isConnectionError(error);
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

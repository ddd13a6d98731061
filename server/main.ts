// The process: settings, database, port, signals. Everything else is built by app.ts.

import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { buildServer } from "./app.ts";
import { type Config, ConfigError, loadConfig, requireSafeExposure } from "./config.ts";
import { fenceAll } from "./engine/fence.ts";
import { patience } from "./engine/pulse.ts";
import { createLogger, type Logger } from "./observability/logger.ts";
import { EmbeddedPostgresError } from "./postgres/errors.ts";
import { openStore } from "./store/connection.ts";
import { DatabaseUnusableError } from "./store/first-contact.ts";
import { adminKeysIn, saveFirstAdminKey } from "./store/first-key.ts";
import { GroupCommit } from "./store/group-commit.ts";
import { migrate, SchemaError } from "./store/migrate.ts";
import { VERSION } from "./version.ts";

interface DatabasePlace {
  readonly url: string;
  readonly where: string;
  stop(): Promise<void>;
}

async function openDatabase(
  config: Config,
  logger: Logger,
  onLost: (error: Error) => void,
): Promise<DatabasePlace> {
  if (config.databaseUrl !== undefined)
    return { url: config.databaseUrl, where: "DATABASE_URL", stop: async () => undefined };
  // Loaded only when needed: the image for a database of one's own does not carry it.
  const { startEmbeddedPostgres } = await import("./postgres/embedded.ts");
  const postgres = await startEmbeddedPostgres({
    dataDir: config.dataDir,
    log: (line) => logger.info(line),
    onLost,
  });
  return { url: postgres.url, where: postgres.dataDir, stop: () => postgres.stop() };
}

/** The database of these settings, for a command that only reads beside the server, or instead of it. */
export async function openDatabaseToRead(
  env: NodeJS.ProcessEnv,
): Promise<{ url: string; stop(): Promise<void> }> {
  const config = loadConfig(env);
  if (config.databaseUrl !== undefined) return { url: config.databaseUrl, stop: async () => undefined };
  const { openExistingPostgres } = await import("./postgres/embedded.ts");
  return openExistingPostgres(config.dataDir);
}

/** The first administrator's key, written to the database of these settings, which is made if there is none yet. */
export async function createAdminKey(env: NodeJS.ProcessEnv, name: string, lifetimeMs: number | null) {
  const config = loadConfig(env);
  const database = await openDatabaseToRead(env).catch(async (error) => {
    if (!(error instanceof EmbeddedPostgresError) || error.code !== "data_directory_unusable") throw error;
    const { startEmbeddedPostgres } = await import("./postgres/embedded.ts");
    return startEmbeddedPostgres({ dataDir: config.dataDir });
  });
  try {
    await migrate(database.url);
    return await saveFirstAdminKey(database.url, name, lifetimeMs);
  } finally {
    await database.stop();
  }
}

/** Ends all attempts in the database of these settings and leaves out their numbers; see engine/fence.ts. */
export async function fenceDatabase(env: NodeJS.ProcessEnv): Promise<number> {
  const config = loadConfig(env);
  const database = await openDatabaseToRead(env);
  const store = openStore({
    connectionString: database.url,
    poolMax: 2,
    lockTimeoutMs: config.dbLockTimeoutMs,
    idleTransactionMs: config.dbIdleTransactionMs,
    queryTimeoutMs: config.dbQueryTimeoutMs,
    applicationName: "perdure fence",
  });
  try {
    return await fenceAll(store, new GroupCommit(store, { queueMax: config.queueMax }));
  } finally {
    await store.end();
    await database.stop();
  }
}

/** In words for whoever typed `npm start`; as one more line of the log for a service whose log is collected as JSON. */
function greet(url: string, where: string, config: Config, keysRequired: boolean, logger: Logger): void {
  const json =
    config.logFormat === "json" ||
    (config.logFormat === "auto" && config.databaseUrl !== undefined && !process.stdout.isTTY);
  if (json) {
    logger.info({ url, data_at: where, version: VERSION }, `Perdure listens on ${url}`);
    return;
  }
  const key =
    config.adminKey === undefined
      ? keysRequired
        ? ` -H "x-api-key: $PERDURE_API_KEY"`
        : ""
      : ` -H "x-api-key: $PERDURE_ADMIN_KEY"`;
  const dashboard = config.dashboard === "on" ? `${url}/` : "off (PERDURE_DASHBOARD)";
  process.stdout.write(`
  Perdure ${VERSION} listens on ${url}
  dashboard   ${dashboard}
  data        ${where}
  api         ${url}/openapi.json

  Send an intent:
    curl -s ${url}/v1/intents${key} -H 'content-type: application/json' -d '{"intent_type":"hello.v1","to_agent":"greeter","payload":{"name":"world"}}'

`);
}

function publicUrl(config: Config, address: string): string {
  if (config.publicUrl !== undefined) return config.publicUrl.replace(/\/$/, "");
  const port = new URL(address).port;
  const host =
    config.host === "0.0.0.0" || config.host === "::"
      ? "127.0.0.1"
      : config.host.includes(":")
        ? `[${config.host}]`
        : config.host;
  return `http://${host}:${port}`;
}

/** Runs a server until SIGINT, SIGTERM or SIGHUP. Rejects when it cannot start. */
export async function runServer(env: NodeJS.ProcessEnv): Promise<void> {
  const config = loadConfig(env);
  const logger = createLogger({
    level: config.logLevel,
    ...(config.logFormat === "auto" ? {} : { pretty: config.logFormat === "pretty" }),
  });
  for (const warning of config.warnings) logger.warn(warning);

  const signals = new AbortController();
  const stopped = new Promise<string>((resolve) => {
    const ask = (signal: string) => {
      if (signals.signal.aborted) {
        logger.warn("stopping at once");
        process.exit(130);
      }
      signals.abort();
      resolve(signal);
    };
    // SIGHUP: its terminal was closed. The embedded PostgreSQL has none, and would stay behind.
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => ask(signal));
  });

  const database = await openDatabase(config, logger, (error) => {
    logger.fatal({ err: error }, "the database is gone");
    process.exit(1);
  });
  try {
    const applied = await migrate(database.url, {
      silentMs: patience(config).awayMs,
      onWait: (others) =>
        logger.warn(
          { others },
          "the schema can only be changed once older servers have ended; waiting for them",
        ),
    });
    if (applied.length > 0) logger.info({ migrations: applied }, "database schema brought up to date");
    const keys = await adminKeysIn(database.url);
    requireSafeExposure(config, { keysInDatabase: keys.made });
    // What was closed stays closed: keys of tenants may live on, and their intents do in any case.
    if (keys.made && !keys.live && config.adminKey === undefined)
      logger.warn("every administrator's key has ended: make one with perdure keys create NAME --admin");
    if (!signals.signal.aborted) await serve(config, logger, database, keys.made, stopped);
  } finally {
    await database.stop();
  }
}

async function serve(
  config: Config,
  logger: Logger,
  database: DatabasePlace,
  keysRequired: boolean,
  stopped: Promise<string>,
): Promise<void> {
  const server = await buildServer({
    config,
    databaseUrl: database.url,
    logger,
    version: VERSION,
    keysRequired,
  });
  try {
    await server.start();
    const address = await server.app.listen({
      host: config.host,
      port: config.port,
      // Node asks for 511: a fleet that comes back at once is more. Whoever finds no room believes itself connected, and is reset when it asks.
      backlog: config.listenBacklog,
      listenTextResolver: (address) => `listening on ${address}`,
    });
    greet(publicUrl(config, address), database.where, config, keysRequired, logger);
    const signal = await stopped;
    logger.info({ signal }, "draining: agents are told, commits under way finish");
  } finally {
    const late = setTimeout(() => {
      logger.error("the drain took too long; ending now. Nothing acknowledged is lost");
      process.exit(1);
    }, config.shutdownTimeoutMs);
    late.unref();
    await server.stop();
    clearTimeout(late);
  }
}

/** Their messages are for the person at the terminal. */
const EXPLAINED = [ConfigError, SchemaError, DatabaseUnusableError, EmbeddedPostgresError] as const;

/** The problem in words, when it is one the person at the terminal can do something about. */
export function explainStartFailure(error: unknown, env: NodeJS.ProcessEnv): string | null {
  if (EXPLAINED.some((kind) => error instanceof kind)) return (error as Error).message;
  const { code, port } = error as { code?: string; port?: number };
  if (code === "EADDRINUSE")
    return `port ${port ?? env.PORT ?? 7070} is in use: stop what listens there, or choose another with PORT=…`;
  return null;
}

/** For the command line: runs, and turns a failure to start into one clear line and exit code 1. */
export async function main(env: NodeJS.ProcessEnv): Promise<void> {
  try {
    await runServer(env);
    process.exitCode = 0;
  } catch (error) {
    const words = explainStartFailure(error, env);
    if (words === null) console.error(error);
    else process.stderr.write(`perdure: ${words}\n`);
    process.exit(1);
  }
}

const entry = process.argv[1];
if (entry !== undefined && realpathSync(entry) === fileURLToPath(import.meta.url)) await main(process.env);

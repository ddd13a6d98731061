// A whole server for a test, in this process: real PostgreSQL, real HTTP, timings short enough to wait for.

import { buildServer, type Server } from "../../server/app.ts";
import { loadConfig } from "../../server/config.ts";
import { createLogger } from "../../server/observability/logger.ts";
import { createTestDatabase } from "./postgres.ts";
import { witnessServer } from "./witnesses.ts";

export { until } from "./until.ts";

export interface TestServer extends Server {
  readonly url: string;
  readonly databaseUrl: string;
  close(): Promise<void>;
}

/** As in production: none may end because the machine is slow. What is looked for comes soon. */
const TIMINGS: Readonly<Record<string, string>> = {
  PERDURE_HEARTBEAT_INTERVAL_MS: "5000",
  PERDURE_LEASE_TTL_MS: "30000",
  PERDURE_RECONNECT_GRACE_MS: "2000",
  PERDURE_RESTART_GRACE_MS: "10000",
  PERDURE_BATCH_PATIENCE_MS: "30000",
  PERDURE_POLL_INTERVAL_MS: "100",
};

/** For tests about leases and graces that end: short enough to wait for, each well apart from the next. */
export const SHORT_LEASES: Readonly<Record<string, string>> = {
  PERDURE_HEARTBEAT_INTERVAL_MS: "500",
  PERDURE_LEASE_TTL_MS: "1500",
  PERDURE_RECONNECT_GRACE_MS: "300",
  PERDURE_RESTART_GRACE_MS: "1000",
  PERDURE_POLL_INTERVAL_MS: "100",
};

export interface TestServerOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Another replica on the same database. */
  readonly databaseUrl?: string;
  /** Receives each line of the log. */
  readonly log?: (line: string) => void;
  readonly keysRequired?: boolean;
  /** Of a server that comes back where it was. */
  readonly port?: number;
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const database = options.databaseUrl === undefined ? await createTestDatabase() : undefined;
  const databaseUrl = options.databaseUrl ?? database?.url ?? "";
  const config = loadConfig({ ...TIMINGS, PORT: "0", PERDURE_LOG_LEVEL: "silent", ...options.env });
  const { log } = options;
  const logger = createLogger({
    level: config.logLevel,
    ...(log === undefined ? {} : { destination: { write: log } }),
  });
  const server = await buildServer({
    config,
    databaseUrl,
    logger,
    version: "0.0.0-test",
    processMetrics: false,
    keysRequired: options.keysRequired === true,
  });
  const forget = witnessServer(server);
  await server.start();
  const url = await server.app.listen({ host: "127.0.0.1", port: options.port ?? 0 });
  return {
    ...server,
    url,
    databaseUrl,
    async close() {
      await server.stop();
      forget();
      await database?.drop();
    },
  };
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
  readonly body: any;
}

/** One HTTP call with a JSON body; never throws on an error status. */
export async function call(
  server: { readonly url: string },
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

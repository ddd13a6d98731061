// Owns a server under measurement: the built one, as a process of its own, as an operator would start it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { SERVER } from "../../test/support/programs.ts";
import { freePort, untilReady } from "./server.ts";

export interface ServerOptions {
  /** Default a new database. */
  readonly databaseUrl?: string;
  /** Settings that differ from the defaults. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface BenchServer {
  readonly baseUrl: string;
  readonly databaseUrl: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const PATIENCE_MS = 20_000;

export async function startServer(
  databaseUrl: string,
  env: Readonly<Record<string, string>> = {},
): Promise<BenchServer> {
  const port = await freePort();
  const own = { PORT: String(port), DATABASE_URL: databaseUrl, PERDURE_LOG_LEVEL: "error" };
  const server = spawn(process.execPath, [SERVER], {
    env: { ...process.env, ...own, ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exited = once(server, "exit");
  const stop = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    server.kill("SIGTERM");
    const patience = setTimeout(() => server.kill("SIGKILL"), PATIENCE_MS);
    await exited;
    clearTimeout(patience);
  };
  const baseUrl = `http://127.0.0.1:${port}`;
  try {
    await untilReady(baseUrl, () => server.exitCode !== null);
  } catch (error) {
    await stop();
    throw error;
  }
  return { baseUrl, databaseUrl, pid: server.pid ?? 0, stop };
}

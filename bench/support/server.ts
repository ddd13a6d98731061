// A server of its own for a benchmark: the built one, on an embedded PostgreSQL in a fresh directory, gone afterwards.

import { spawn } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SERVER } from "../../test/support/programs.ts";

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}

const READY_TRIES = 300;

export async function untilReady(baseUrl: string, exited: () => boolean): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const up = await fetch(`${baseUrl}/ready`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (up) return;
    if (tries > READY_TRIES || exited()) throw new Error("the server did not start");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Runs `body` against a fresh server. */
export async function withServer(
  body: (baseUrl: string, dataDir: string) => Promise<void>,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "perdure-bench-"));
  // Started as root, PostgreSQL runs as another user and has to get through.
  await chmod(dataDir, 0o711);
  const port = await freePort();
  const server = spawn(process.execPath, [SERVER], {
    env: {
      ...process.env,
      PORT: String(port),
      PERDURE_DATA_DIR: dataDir,
      PERDURE_LOG_LEVEL: "error",
      ...env,
    },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exited = new Promise((resolve) => server.once("exit", resolve));
  try {
    const baseUrl = `http://127.0.0.1:${port}`;
    await untilReady(baseUrl, () => server.exitCode !== null);
    await body(baseUrl, dataDir);
  } finally {
    server.kill("SIGTERM");
    await exited;
    await rm(dataDir, { recursive: true, force: true });
  }
}

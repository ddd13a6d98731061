// The two latencies a user feels, at light load: create → the handler starts, complete → waitFor returns. Prints
// them; asserts nothing. Server, PostgreSQL and client share this machine.

import { spawn } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PerdureClient } from "@perdure/sdk";

const ROUNDS = 1_000;
const WARM_UP = 200;

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}

const quantile = (sorted: readonly number[], q: number): string =>
  (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0).toFixed(2);

function report(name: string, samples: number[]): void {
  const sorted = samples.slice(WARM_UP).sort((a, b) => a - b);
  console.log(`${name}_p50_ms=${quantile(sorted, 0.5)}`);
  console.log(`${name}_p99_ms=${quantile(sorted, 0.99)}`);
}

async function measure(baseUrl: string): Promise<void> {
  const client = new PerdureClient({ baseUrl, logger: false });
  const started = new Map<number, number>();
  const ended = new Map<number, number>();
  const agent = client.listen<{ n: number }>(
    "agent://bench/smoke/echo",
    (ctx) => {
      started.set(ctx.payload.n, performance.now());
      ended.set(ctx.payload.n, performance.now());
      return { n: ctx.payload.n };
    },
    { handleSignals: false },
  );
  await agent.ready;
  const starts: number[] = [];
  const waits: number[] = [];
  for (let n = 0; n < ROUNDS; n += 1) {
    const sent = performance.now();
    const id = await client.sendIntent({
      intentType: "echo.v1",
      toAgent: "agent://bench/smoke/echo",
      payload: { n },
    });
    await client.waitFor(id);
    const back = performance.now();
    starts.push((started.get(n) ?? Number.NaN) - sent);
    waits.push(back - (ended.get(n) ?? Number.NaN));
  }
  await agent.stop();
  await client.close();
  report("create_to_handler", starts);
  report("complete_to_wait_for", waits);
}

const dataDir = await mkdtemp(join(tmpdir(), "perdure-bench-"));
// Started as root, PostgreSQL runs as another user and has to get through.
await chmod(dataDir, 0o711);
const port = await freePort();
const main = fileURLToPath(new URL("../dist/server/main.js", import.meta.url));
const server = spawn(process.execPath, [main], {
  env: { ...process.env, PORT: String(port), PERDURE_DATA_DIR: dataDir, PERDURE_LOG_LEVEL: "error" },
  stdio: ["ignore", "ignore", "inherit"],
});
const exited = new Promise((resolve) => server.once("exit", resolve));
try {
  const baseUrl = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries += 1) {
    const up = await fetch(`${baseUrl}/ready`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (up) break;
    if (tries > 300 || server.exitCode !== null) throw new Error("the server did not start");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await measure(baseUrl);
} finally {
  server.kill("SIGTERM");
  await exited;
  await rm(dataDir, { recursive: true, force: true });
}

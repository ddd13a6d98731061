// Restate: its own server keeps the journal (RocksDB, fsync on), calls the worker over HTTP/2 and answers the initiator.

import "./support/runtime.mjs";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startProcess, stopProcess, untilReady } from "./support/children.mjs";
import { processCpu } from "./support/cpu.mjs";
import { runPeer } from "./support/peer.mjs";
import { freePorts } from "./support/ports.mjs";
import { httpCaller } from "./support/restate-callers.mjs";

const READY_MS = 30_000;

function serverBinary() {
  const require = createRequire(import.meta.url);
  const name = `@restatedev/restate-server-${process.platform}-${process.arch}`;
  const own = createRequire(require.resolve("@restatedev/restate-server/package.json"));
  return own.resolve(`${name}/bin/restate-server`);
}

async function untilHealthy(url, server) {
  for (const end = Date.now() + READY_MS; Date.now() < end; await sleep(50)) {
    if (server.exitCode !== null) throw new Error(`restate-server ended with ${server.exitCode}`);
    const answer = await fetch(url).catch(() => null);
    if (answer?.ok) return;
  }
  throw new Error(`${url} did not answer`);
}

async function startServer(setting) {
  const directory = await mkdtemp(join(tmpdir(), "bench-restate-"));
  const [ingress, admin, node] = await freePorts(3);
  const server = startProcess(
    serverBinary(),
    ["--no-logo", "--node-name=bench", `--base-dir=${directory}`, "--listen-mode=tcp", "--bind-ip=127.0.0.1"],
    {
      env: {
        RESTATE_BIND_PORT: String(node),
        RESTATE_INGRESS__BIND_PORT: String(ingress),
        RESTATE_ADMIN__BIND_PORT: String(admin),
        RESTATE_LOG_FILTER: "error,octocrab=off",
        RESTATE_DISABLE_TELEMETRY: "true",
        DO_NOT_TRACK: "1",
        ...setting.env,
      },
    },
  );
  const remove = async () => {
    await stopProcess(server);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await untilHealthy(`http://127.0.0.1:${admin}/health`, server);
    await untilHealthy(`http://127.0.0.1:${ingress}/restate/health`, server);
  } catch (error) {
    await remove();
    throw error;
  }
  return { server, remove, ingress: `http://127.0.0.1:${ingress}`, admin: `http://127.0.0.1:${admin}` };
}

async function startWorker(setting) {
  const [port] = await freePorts(1);
  const worker = startProcess(process.execPath, [fileURLToPath(new URL("workers/restate.mjs", import.meta.url))], {
    env: { PORT: String(port), RETENTION: setting.retention ?? "default", RESTATE_LOGGING: "ERROR", NODE_ENV: "production" },
    ipc: true,
  });
  await untilReady(worker);
  return { worker, uri: `http://127.0.0.1:${port}` };
}

async function register(admin, uri) {
  const answer = await fetch(`${admin}/deployments`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ uri }),
  });
  if (!answer.ok) throw new Error(`the worker could not be registered: ${answer.status} ${await answer.text()}`);
}

// How each kind of service is addressed. A workflow has a key of its own and runs once for it.
const paths = {
  service: { fourStep: () => "/jobs/fourStep", noStep: () => "/jobs/noStep", startedAt: () => "/jobs/startedAt" },
  workflow: {
    fourStep: (number) => `/four-step/w${number}/run`,
    noStep: (number) => `/no-step/w${number}/run`,
    startedAt: (number) => `/started-at/w${number}/run`,
  },
};

async function start({ setting }) {
  const { server, remove, ingress, admin } = await startServer(setting);
  try {
    const { worker, uri } = await startWorker(setting);
    await register(admin, uri);
    const { call, close } = httpCaller(setting.caller, ingress);
    const path = paths[setting.kind];
    const caller = (handler) => (number, payload) =>
      call(path[handler](number), payload, setting.idempotent ? `k${number}` : undefined);
    return {
      fourStep: caller("fourStep"),
      noStep: caller("noStep"),
      startedAt: caller("startedAt"),
      cpu: { usesPostgres: false, worker: () => processCpu(worker.pid), server: () => processCpu(server.pid) },
      stop: async () => {
        close();
        await stopProcess(worker);
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

const settings = {
  best: { kind: "service", caller: "http1" },
  "http2": { kind: "service", caller: "http2" },
  "client": { kind: "service", caller: "client" },
  "idempotent": { kind: "service", caller: "http1", idempotent: true },
  workflow: { kind: "workflow", caller: "http1" },
  "no-retention": { kind: "service", caller: "http1", retention: "none" },
  "p1": { kind: "service", caller: "http1", env: { RESTATE_DEFAULT_NUM_PARTITIONS: "1" } },
  "p2": { kind: "service", caller: "http1", env: { RESTATE_DEFAULT_NUM_PARTITIONS: "2" } },
  "p4": { kind: "service", caller: "http1", env: { RESTATE_DEFAULT_NUM_PARTITIONS: "4" } },
  "p8": { kind: "service", caller: "http1", env: { RESTATE_DEFAULT_NUM_PARTITIONS: "8" } },
  "local": { kind: "service", caller: "http1", env: { RESTATE_BIFROST__DEFAULT_PROVIDER: "local" } },
  "local4": { kind: "service", caller: "http1", env: { RESTATE_BIFROST__DEFAULT_PROVIDER: "local", RESTATE_DEFAULT_NUM_PARTITIONS: "4" } },
};

await runPeer({
  peer: "restate",
  packageName: "@restatedev/restate-server",
  workloads: ["four-step", "no-step", "latency"],
  settings,
  start,
});

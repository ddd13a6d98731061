// Owns the one PostgreSQL of a test run: TEST_DATABASE_URL, else a container when a Docker daemon answers, else the
// embedded one in a temporary directory. Leaves no process, no directory and no database behind, however it ends.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { type RequestOptions, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { asAdmin, urlOf } from "./postgres.ts";
import { compilePrograms } from "./programs.ts";

interface Backend {
  readonly url: string;
  stop(): Promise<void>;
}

/** Tests kill processes, never the machine: what was written survives without waiting for the disk. */
const FAST = { fsync: "off", synchronous_commit: "off", full_page_writes: "off", max_connections: "200" };
const IMAGE = "postgres:17";

let finish: (() => Promise<void>) | undefined;

export async function setup(project: TestProject): Promise<void> {
  const [backend] = await Promise.all([startBackend(), compilePrograms()]);
  const run = randomBytes(4).toString("hex");
  const prefix = `perdure_test_${run}_`;
  const template = `perdure_template_${run}`;
  const failure = await makeTemplate(backend.url, template);
  project.provide("testPostgres", { adminUrl: backend.url, template, prefix, ...(failure && { failure }) });
  finish = async () => {
    await dropDatabases(backend.url, [`${prefix}%`, template]).finally(() => backend.stop());
  };
}

export async function teardown(): Promise<void> {
  await finish?.();
}

async function startBackend(): Promise<Backend> {
  const given = process.env.TEST_DATABASE_URL;
  if (given) return { url: given, stop: async () => {} };
  if (await dockerAnswers()) {
    try {
      return await startContainer();
    } catch (error) {
      console.warn(`tests: no PostgreSQL container (${String(error)}); using the embedded PostgreSQL`);
    }
  }
  return startEmbedded();
}

async function startContainer(): Promise<Backend> {
  const { PostgreSqlContainer } = await import("@testcontainers/postgresql");
  const settings = Object.entries(FAST).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const container = await new PostgreSqlContainer(IMAGE).withCommand(["postgres", ...settings]).start();
  return {
    url: container.getConnectionUri(),
    stop: async () => {
      await container.stop();
    },
  };
}

async function startEmbedded(): Promise<Backend> {
  const directory = await mkdtemp(join(tmpdir(), "perdure-test-postgres-"));
  // As root, PostgreSQL runs as another user, who has to be able to enter.
  await chmod(directory, 0o711);
  try {
    const postgres = await startEmbeddedPostgres({ dataDir: directory, settings: FAST });
    const reaper = startReaper(postgres.pid, [postgres.dataDir, directory]);
    return {
      url: postgres.url,
      stop: async () => {
        await postgres.stop();
        for (const path of [postgres.dataDir, directory]) await rm(path, { recursive: true, force: true });
        reaper.stdin?.end("done");
      },
    };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/**
 * A process that waits for the end of its standard input, which comes also when this process is killed. Unless told
 * that all is done, it then stops PostgreSQL and removes the directories.
 */
function startReaper(pid: number, directories: string[]): ChildProcess {
  const program = `
    const { rmSync } = require("node:fs");
    const [pid, ...directories] = JSON.parse(process.argv[1]);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
    let told = "";
    process.stdin.on("data", (chunk) => { told += chunk; });
    process.stdin.on("close", () => {
      if (told !== "") return;
      try { process.kill(pid, "SIGQUIT"); } catch {}
      const deadline = Date.now() + 10_000;
      const poll = setInterval(() => {
        try { process.kill(pid, 0); if (Date.now() < deadline) return; } catch {}
        clearInterval(poll);
        for (const path of directories) rmSync(path, { recursive: true, force: true });
      }, 50);
    });`;
  const reaper = spawn(process.execPath, ["-e", program, JSON.stringify([pid, ...directories])], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    cwd: tmpdir(),
  });
  reaper.unref();
  return reaper;
}

/** Returns why it failed, so that tests which need no database run even when a migration is broken. */
async function makeTemplate(adminUrl: string, template: string): Promise<string | undefined> {
  await asAdmin(adminUrl, (admin) => admin.query(`create database ${template}`));
  try {
    const { migrate } = await import("../../server/store/migrate.ts");
    await migrate(urlOf(adminUrl, template));
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

async function dropDatabases(adminUrl: string, patterns: string[]): Promise<void> {
  await asAdmin(adminUrl, async (admin) => {
    const { rows } = await admin.query<{ datname: string }>(
      "select datname from pg_database where datname like any($1) order by datname",
      [patterns],
    );
    for (const { datname } of rows) await admin.query(`drop database if exists "${datname}" with (force)`);
  });
}

function dockerAnswers(): Promise<boolean> {
  const host = process.env.DOCKER_HOST ?? "unix:///var/run/docker.sock";
  const where: RequestOptions | undefined = host.startsWith("unix://")
    ? { socketPath: host.slice("unix://".length) }
    : host.startsWith("tcp://") && process.env.DOCKER_TLS_VERIFY === undefined
      ? { host: new URL(host).hostname, port: new URL(host).port }
      : undefined;
  if (where === undefined) return Promise.resolve(false);
  return new Promise((resolve) => {
    const ping = request({ ...where, path: "/_ping", timeout: 1_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on("timeout", () => ping.destroy());
    ping.on("error", () => resolve(false));
    ping.end();
  });
}

// What every case of overload needs: a server as a process of its own, raw clients, and the figures that bounds are checked on.

import { mkdtemp, rm } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpuSeconds } from "../../bench/support/processes.ts";
import { startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { endAll, freePort, startProgram } from "../faults/processes.ts";
import { adoptDatabase, forgetDatabase } from "../faults/reaper.ts";
import { residentMib } from "../faults/suite/samples.ts";
import { type Quantiles, quantilesOf } from "../faults/suite/speeds.ts";
import { SERVER } from "../support/programs.ts";

// biome-ignore lint/suspicious/noExplicitAny: whatever the wire carried
export type Json = Record<string, any>;

export interface Answer {
  readonly status: number;
  readonly retryAfter: number;
  readonly body: Json;
}

export interface Stage {
  readonly port: number;
  readonly url: string;
  rssMib(): number;
  /** Of the server's own work; the machine may be busy with other things. */
  cpuMs(): Promise<number>;
  call(method: string, path: string, body?: Json, agent?: Agent): Promise<Answer>;
  end(): Promise<void>;
}

export async function openStage(env: Record<string, string>): Promise<Stage> {
  const directory = await mkdtemp(join(tmpdir(), "perdure-overload-"));
  adoptDatabase(directory, [directory]);
  const postgres = await startEmbeddedPostgres({ dataDir: directory });
  const port = await freePort();
  const server = startProgram([SERVER], {
    ...env,
    DATABASE_URL: postgres.url,
    HOST: "127.0.0.1",
    PORT: String(port),
    PERDURE_LOG_LEVEL: "info",
  });
  await server.says("listens on");
  // Its connections are open before any crowd comes.
  const own = new Agent({ keepAlive: true, maxSockets: 64 });
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    rssMib: () => residentMib(server.pid) ?? 0,
    cpuMs: async () => (await cpuSeconds(server.pid)) * 1_000,
    call: (method, path, body, agent = own) => call(port, method, path, body, agent),
    async end() {
      own.destroy();
      await endAll();
      await postgres.stop();
      for (const home of new Set([directory, postgres.dataDir])) {
        await rm(home, { recursive: true, force: true });
        forgetDatabase(home);
      }
    },
  };
}

function call(
  port: number,
  method: string,
  path: string,
  body: Json | undefined,
  agent: Agent,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const sent = request({ host: "127.0.0.1", port, method, path, agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        resolve({
          status: response.statusCode ?? 0,
          retryAfter: Number(response.headers["retry-after"] ?? 0),
          body: text === "" ? {} : (JSON.parse(text) as Json),
        });
      });
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** A client that asks one thing after the other while all the rest goes on: whoever behaves has to be served. */
export function startHealthyClient(stage: Stage): { stop(): Promise<Quantiles> } {
  const times: number[] = [];
  let stopped = false;
  const running = (async () => {
    while (!stopped) {
      const began = performance.now();
      const { status, body } = await stage.call("POST", "/v1/intents", {
        intent_type: "healthy.v1",
        to_agent: "healthy",
        payload: {},
      });
      if (status !== 200)
        throw new Error(`the healthy client was answered ${status}: ${JSON.stringify(body)}`);
      times.push(performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  // Looked at when it is stopped.
  running.catch(() => undefined);
  return {
    async stop() {
      stopped = true;
      await running;
      return quantilesOf(times);
    },
  };
}

/** So many at a time, until all are done. */
export async function inLanes(
  lanes: number,
  count: number,
  one: (n: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(lanes, count) }, async () => {
      for (let n = next++; n < count; n = next++) await one(n);
    }),
  );
}

export async function until(what: string, ms: number, condition: () => boolean | Promise<boolean>) {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${ms} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

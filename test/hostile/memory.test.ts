// @vitest-environment-options { "process": "its own: what the files before it leave to be collected would hide growth" }
// Whatever is thrown at it for however long: the process keeps no more memory than before. HOSTILE_ROUNDS makes it longer.
import { randomBytes } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { exchange, open, send } from "./wire.ts";

const ROUNDS = Number(process.env.HOSTILE_ROUNDS ?? 25);
const WARM_UP = 10;
const GROWTH_MAX = 6 * 1024 * 1024;
const JSON_TYPE = [["content-type", "application/json"]] as const;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function heap(): number {
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

const unique = (): string => randomBytes(8).toString("hex");

/** What could be kept: names, addresses, keys and streams that never come again, deep and large bodies, broken sockets. */
async function attack(): Promise<void> {
  const post = (path: string, body: string) =>
    send(server, { method: "POST", path, headers: JSON_TYPE, body: Buffer.from(body) });
  const id = unique();
  await Promise.all([
    post("/v1/intents", `${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`),
    post("/v1/intents", "[".repeat(1_000_000)),
    post("/v1/intents", `{"intent_type":"a","to_agent":"${id} b","payload":{"a":"${"x".repeat(500_000)}"}}`),
    post("/v1/intents", `{"${id}":1,"__proto__":{"${id}":1}}`),
    post(`/v1/${id}`, "{}"),
    send(server, { method: "GET", path: `/v1/agents/${id}/intents/stream?consumer=${id}`, headers: [] }),
    send(server, { method: "GET", path: `/v1/intents/${id}/events/stream`, headers: [] }),
    send(server, { method: "GET", path: `/v1/state/session:${id}/${id}`, headers: [["x-owner-agent", id]] }),
    exchange(server, `GET / HTTP/1.1\r\nx-big: ${"x".repeat(1_000_000)}\r\n\r\n`),
  ]);
  const cut = open(server);
  await new Promise<void>((resolve) => {
    cut.once("close", () => resolve());
    const part = 'POST /v1/intents HTTP/1.1\r\nHost: localhost\r\ncontent-length: 1000000\r\n\r\n{"a":"';
    cut.write(`${part}${"x".repeat(100_000)}`, () => cut.resetAndDestroy());
  });
}

async function rounds(count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await attack();
  await until("the streams' end", () => server.streams.all().length === 0);
}

test(
  "many rounds of hostile requests leave the heap as it was",
  async () => {
    await rounds(WARM_UP);
    const before = heap();
    await rounds(ROUNDS);
    expect(heap() - before).toBeLessThan(GROWTH_MAX);
    expect((await call(server, "GET", "/ready")).status).toBe(200);
  },
  30_000 + ROUNDS * 500,
);

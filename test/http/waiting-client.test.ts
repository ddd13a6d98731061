// Whoever waits for an answer may go away: nobody waits for nobody, and nothing is handed to them.
import { getEventListeners } from "node:events";
import { createServer, get, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RouteDeps, waitSignal } from "../../server/http/routes/deps.ts";
import { claimOne, send, view } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

/** Hints are lost, and no poll comes: a claim that waits looks only when something in its own life happens. */
const DEAF = {
  PERDURE_NOTIFY: "off",
  PERDURE_POLL_INTERVAL_MS: "600000",
  PERDURE_HEARTBEAT_INTERVAL_MS: "10000",
  PERDURE_LEASE_TTL_MS: "30000",
};

let server: TestServer;
let other: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: DEAF });
  other = await startTestServer({ env: DEAF, databaseUrl: server.databaseUrl });
});
afterAll(async () => {
  await other.close();
  await server.close();
});

/** The answer of a request whose client has gone. */
async function abandoned(): Promise<{ raw: ServerResponse; close(): void }> {
  const http = createServer();
  http.listen(0, "127.0.0.1");
  const raw = await new Promise<ServerResponse>((resolve) => {
    http.on("listening", () => {
      const asking = get({ port: (http.address() as AddressInfo).port, host: "127.0.0.1" });
      asking.on("error", () => undefined);
      http.on("request", (_request, response) => {
        response.on("close", () => resolve(response));
        asking.destroy();
      });
    });
  });
  return { raw, close: () => http.close() };
}

test("a wait for a client that has gone already is over at once, and leaves no listener behind", async () => {
  const { raw, close } = await abandoned();
  const draining = new AbortController();
  const signal = waitSignal({ draining: draining.signal } as RouteDeps, {} as never, { raw });
  expect(signal.aborted).toBe(true);
  expect(getEventListeners(draining.signal, "abort")).toEqual([]);
  close();
});

const LOOKS = 20;

test("a claim whose client went away while it waited takes nothing", async () => {
  const body = JSON.stringify({ consumer: "gone", wait_seconds: 50, lease_seconds: 300 });
  const claiming = request(`${server.url}/v1/agents/gone/claim`, {
    method: "POST",
    headers: { "content-type": "application/json" },
  });
  claiming.on("error", () => undefined);
  claiming.end(body);
  await until("it waits", async () => {
    const { rows } = await server.store.pool.query("select 1 from consumers where name = 'gone'");
    return rows.length === 1;
  });
  // Behind the waiting one's look at the queue, which follows its registration at once.
  for (let n = 0; n < 3; n += 1) await call(server, "POST", "/v1/agents/gone/claim", { consumer: `n${n}` });
  const id = await send(other, "gone");
  claiming.destroy();
  for (let n = 0; n < LOOKS; n += 1) expect(await view(server, id)).toMatchObject({ attempt: 0 });
  expect(await claimOne(server, "gone")).toMatchObject({ intent_id: id, attempt: 1 });
});

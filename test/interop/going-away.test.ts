// Servers and databases go away, and clients that end for good at an error live on: every answer ends in order, nobody looks like a
// newcomer for it, and nobody asks without a pause.

import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { inStatus, send, typesOf, view } from "../delivery/listener.ts";
import { openProxy } from "../faults/proxy.ts";
import { openWire } from "../store/wire.ts";
import { startBalancer } from "../support/balancer.ts";
import { issueKey, startKeyedServer } from "../support/keys.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { startIncrementalAgent } from "./clients/incremental-agent.ts";
import { startWholeBodyAgent } from "./clients/whole-body-agent.ts";
import type { WindowAgent } from "./clients/windows.ts";
import { never, WINDOW_TIMES, working } from "./stage.ts";

const killAll = (agents: readonly WindowAgent[]) => {
  for (const agent of agents) agent.kill();
};

test.concurrent("a server that stops ends every window in order, with the number to come back with", async () => {
  const server = await startTestServer({ env: WINDOW_TIMES });
  const url = `${server.url}/v1/agents/stopping/intents/stream?since=5&wait_seconds=50`;
  const windows = Array.from({ length: 20 }, () => fetch(url).then((response) => response.text()));
  await until("they listen", () => server.windows.count("local/dev/stopping") === 20);
  const began = performance.now();
  await server.close();
  for (const text of await Promise.all(windows))
    expect(text).toBe(':\nevent: stream.timeout\ndata: {"ok":true,"next_seq":5}\n\n');
  expect(performance.now() - began).toBeLessThan(20_000);
});

test.concurrent("a window that is asked for on an open connection of a server that stops is held a moment and ends in order", async () => {
  const server = await startTestServer({ env: WINDOW_TIMES });
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  await once(socket, "connect");
  let text = "";
  socket.setEncoding("utf8").on("data", (piece) => {
    text += piece;
  });
  const closed = once(socket, "close");
  // Half a request: the connection is in use while the server begins to stop.
  socket.write("GET /v1/agents/late/intents/stream?since=2&wait_seconds=50 HTTP/1.1\r\n");
  const stopping = server.close();
  socket.write("Host: localhost\r\n\r\n");
  await Promise.all([stopping, closed]);
  expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n/);
  expect(text).toContain('event: stream.timeout\ndata: {"ok":true,"next_seq":2}\n\n');
  expect(text).toMatch(/\r\n0\r\n\r\n$/);
});

test.concurrent("with two servers behind a balancer a rolling restart is an error to nobody, and no work is lost", async () => {
  const database = await createTestDatabase();
  const start = () => startTestServer({ databaseUrl: database.url, env: WINDOW_TIMES });
  const servers: TestServer[] = [await start(), await start()];
  const balancer = await startBalancer(servers.map(({ url }) => url));
  const agents = Array.from({ length: 6 }, (_, n) =>
    (n % 2 === 0 ? startWholeBodyAgent : startIncrementalAgent)({
      url: balancer.url,
      address: "rolling",
      waitSeconds: 2,
      work: working(balancer.url),
    }),
  );
  const holder = startWholeBodyAgent({ url: balancer.url, address: "rolling-long", work: never });
  try {
    const long = await send(balancer, "rolling-long");
    await until("it is at work", () => holder.deliveries.length === 1);
    const idle = startWholeBodyAgent({ url: balancer.url, address: "rolling-long", waitSeconds: 1 });
    agents.push(idle);
    const ids: string[] = [];
    for (const round of [0, 1, 0]) {
      for (let n = 0; n < 4; n += 1) ids.push(await send(balancer, "rolling"));
      const going = servers[round] as TestServer;
      const next = await start();
      balancer.route([...servers.filter((one) => one !== going), next].map(({ url }) => url));
      servers[round] = next;
      await going.close();
      for (let n = 0; n < 4; n += 1) ids.push(await send(balancer, "rolling"));
    }
    for (const id of ids) await inStatus(balancer, id, "COMPLETED");
    expect([...agents, holder].flatMap((agent) => agent.death ?? [])).toEqual([]);
    const told = agents.flatMap((agent) => agent.deliveries.map((one) => one.intentId));
    expect(told.filter((id) => id !== long).sort()).toEqual([...ids].sort());
    for (const agent of agents)
      expect(agent.requests).toBeLessThanOrEqual(agent.deliveries.length + agent.timeouts.length + 1);
  } finally {
    killAll([...agents, holder]);
    await balancer.close();
    for (const server of servers) await server.close();
    await database.drop();
  }
});

test.concurrent("while the database is away windows are held and end in order, and afterwards nobody counts as just started", async () => {
  const database = await createTestDatabase();
  const { hostname, port } = new URL(database.url);
  const proxy = await openProxy({ host: hostname, port: Number(port) });
  const through = new URL(database.url);
  through.host = `127.0.0.1:${proxy.port}`;
  const server = await startTestServer({
    databaseUrl: through.href,
    env: { ...WINDOW_TIMES, PERDURE_WINDOWED_RETURN_MS: "4000" },
  });
  // It takes only what somebody had before: what the other one has, if it counts as just started.
  const idle = startWholeBodyAgent({
    url: server.url,
    address: "outage",
    waitSeconds: 1,
    more: "&status=IN_PROGRESS",
  });
  const busy = startWholeBodyAgent({ url: server.url, address: "outage", work: never });
  try {
    await until("its right as a newcomer is over", () => idle.timeouts.length === 1);
    const id = await send(server, "outage", { max_delivery_attempts: 50 });
    await until("the other is at work", () => busy.deliveries.length === 1);
    proxy.reset(30_000);
    const windows = idle.timeouts.length;
    // Longer than anybody is expected.
    await until("windows that were held all the time", () => idle.timeouts.length >= windows + 5);
    expect(idle.requests).toBe(idle.timeouts.length + 1);
    proxy.pass();
    await until("the database is back", async () => (await call(server, "GET", "/ready")).status === 200);
    await until("windows after it", () => idle.timeouts.length >= windows + 8);
    expect([idle.death, busy.death]).toEqual([undefined, undefined]);
    expect(await view(server, id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });
    busy.kill();
    const restarted = startWholeBodyAgent({ url: server.url, address: "outage" });
    await until("it has its work again", () => restarted.deliveries.length + idle.deliveries.length === 1);
    restarted.kill();
  } finally {
    killAll([busy, idle]);
    await server.close();
    await proxy.close();
    await database.drop({ openConnections: "close" });
  }
});

test.concurrent("a delivery whose commit nobody answered is handed back once the database is back, and nothing counts as lost", async () => {
  const database = await createTestDatabase();
  const wire = await openWire(database.url);
  const log: string[] = [];
  const server = await startTestServer({
    databaseUrl: wire.url,
    env: { ...WINDOW_TIMES, PERDURE_NOTIFY: "off", PERDURE_LOG_LEVEL: "warn" },
    log: (line) => log.push(line),
  });
  const window = `${server.url}/v1/agents/unanswered/intents/stream?since=0&wait_seconds=1`;
  try {
    const id = await send(server, "unanswered");
    const lost = wire.loseCommit().then(() => wire.stop());
    expect(await fetch(window).then((response) => response.text())).toContain("stream.timeout");
    await lost;
    // As long as an outcome is looked up.
    await until("nobody can tell", () => log.some((line) => line.includes("it is not known")));
    wire.goOn();
    await until("it is handed back", async () => (await typesOf(server, id)).includes("released"));
    expect(await view(server, id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });
    const again = window.replace("wait_seconds=1", "wait_seconds=30");
    expect(await fetch(again).then((response) => response.text())).toContain('"attempt":2');
  } finally {
    await server.close();
    await wire.close();
    await database.drop({ openConnections: "close" });
  }
});

test.concurrent("a window whose key cannot be asked for is held without work, and ends in order", async () => {
  const database = await createTestDatabase();
  const { hostname, port } = new URL(database.url);
  const proxy = await openProxy({ host: hostname, port: Number(port) });
  const through = new URL(database.url);
  through.host = `127.0.0.1:${proxy.port}`;
  const server = await startKeyedServer({ databaseUrl: through.href, env: WINDOW_TIMES });
  try {
    const { headers } = await issueKey(server, "local/dev/held", ["act"]);
    server.keys.forget();
    proxy.reset(30_000);
    const window = `${server.url}/v1/agents/local/dev/held/intents/stream?since=3&wait_seconds=1`;
    const held = await fetch(window, { headers });
    expect([held.status, await held.text()]).toEqual([
      200,
      ':\nevent: stream.timeout\ndata: {"ok":true,"next_seq":3}\n\n',
    ]);
    const live = await fetch(window.replace("since=3&wait_seconds=1", ""), { headers });
    expect(live.status).toBe(503);
    proxy.pass();
    await until("the key is known again", async () => (await fetch(window, { headers })).status === 200);
    expect((await fetch(window, { headers: { "x-api-key": "wrong" } })).status).toBe(401);
  } finally {
    await server.close();
    await proxy.close();
    await database.drop({ openConnections: "close" });
  }
});

test.concurrent("beyond a limit on requests, streams or connections a window is held, never refused", async () => {
  const server = await startTestServer({
    env: {
      ...WINDOW_TIMES,
      PERDURE_RATE_LIMIT: "1",
      PERDURE_RATE_BURST: "1",
      PERDURE_STREAMS_PER_CLIENT_MAX: "1",
      PERDURE_STREAMS_PER_ADDRESS_MAX: "1",
      PERDURE_CONNECTIONS_MAX: "2",
    },
  });
  try {
    const window = `${server.url}/v1/agents/limits/intents/stream?since=0&wait_seconds=1`;
    const began = performance.now();
    const answers = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const response = await fetch(window);
        return [response.status, await response.text()];
      }),
    );
    expect(performance.now() - began).toBeGreaterThan(1_000);
    for (const answer of answers)
      expect(answer).toEqual([200, ':\nevent: stream.timeout\ndata: {"ok":true,"next_seq":0}\n\n']);
  } finally {
    await server.close();
  }
});

test.concurrent("a key that ends takes its windows with it, in order", async () => {
  const server = await startKeyedServer({ env: WINDOW_TIMES });
  try {
    const issued = await issueKey(server, "local/dev/ended", ["act"]);
    const agent = startWholeBodyAgent({
      url: server.url,
      address: "local/dev/ended",
      key: issued.text,
      waitSeconds: 50,
    });
    await until("it listens", () => server.windows.count("local/dev/ended") === 1);
    await call(server, "DELETE", `/v1/keys/${issued.id}`, undefined, {
      "x-api-key": "an-administrators-key-for-tests-only",
    });
    await until("its window ended", () => agent.timeouts.length === 1);
    await until("it is told why", () => agent.death?.includes("401"));
  } finally {
    await server.close();
  }
});

// A connection that listens to notifications and hears nothing is noticed, told of once, and replaced.
import { once } from "node:events";
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startTestServer, type TestServer, until } from "../support/server.ts";

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

interface Line {
  readonly url: string;
  /** What PostgreSQL says to those who listen does not arrive; nothing else is wrong. */
  deaf: boolean;
  /** Nothing at all arrives at those who listen. */
  dead: boolean;
  readonly listeners: number;
  /** What listeners were told. */
  readonly heard: number;
}

/** A way to PostgreSQL on which listeners can be made deaf. */
async function openLine({ url }: TestDatabase): Promise<Line> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  const line = { url: "", deaf: false, dead: false, listeners: 0, heard: 0 };
  const proxy = createServer((client) => {
    const upstream = dial({ host: target.hostname, port: Number(target.port) });
    let listens = false;
    client.on("data", (bytes) => {
      if (bytes.includes("listen perdure_wake")) {
        listens = true;
        line.listeners += 1;
      }
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      const told = listens && bytes.includes("perdure_wake");
      if (listens && (line.dead || (told && line.deaf))) return;
      if (told) line.heard += 1;
      client.write(bytes);
    });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on("error", () => undefined);
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  opened.push(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  const through = new URL(url);
  through.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  line.url = through.href;
  return line;
}

async function open(databaseUrl: string, log?: (line: string) => void): Promise<TestServer> {
  // Proofs come as often as heartbeats.
  const env = { PERDURE_HEARTBEAT_INTERVAL_MS: "1500", PERDURE_LEASE_TTL_MS: "30000" };
  const server = await startTestServer({
    databaseUrl,
    ...(log === undefined ? { env } : { env: { ...env, PERDURE_LOG_LEVEL: "warn" }, log }),
  });
  opened.push(() => server.close());
  return server;
}

test("a listener that hears nothing is told of once, and replaced until one hears again", {
  timeout: 180_000,
}, async () => {
  const database = await createTestDatabase();
  opened.push(() => database.drop());
  const line = await openLine(database);
  const told: string[] = [];
  await open(database.url);
  await open(line.url, (text) => told.push(text));
  await until("it listens", () => line.listeners > 0, 30_000);
  line.deaf = true;
  await until("it has listened anew, twice", () => line.listeners > 2, 60_000);
  expect(told.filter((text) => text.includes("do not arrive"))).toHaveLength(1);
  line.deaf = false;
  const before = line.heard;
  // Some of it is the other server's, who says as much.
  await until("it hears itself", () => line.heard > before + 4, 60_000);
  line.deaf = true;
  await until(
    "it is told of a second time",
    () => told.filter((text) => text.includes("do not arrive")).length > 1,
    60_000,
  );
});

test("a connection that is lost while it begins to listen is given up, and holds up no stop", async () => {
  const database = await createTestDatabase();
  opened.push(() => database.drop());
  const line = await openLine(database);
  await open(database.url);
  line.dead = true;
  const server = await startTestServer({ databaseUrl: line.url });
  try {
    await until("it has tried anew", () => line.listeners > 1);
  } finally {
    // With another one that is not answered.
    await server.close();
  }
});

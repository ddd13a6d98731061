// The faulty wire does what it is told, and nothing else.
import { once } from "node:events";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { until } from "../../support/server.ts";
import { TcpProxy } from "./tcp-proxy.ts";

let echo: Server;
let proxy: TcpProxy;
let client: Socket;
let newest: Socket;
let heard: string;
let ended: string | null;
const upstream = new Set<Socket>();

beforeEach(async () => {
  echo = createServer((socket) => {
    upstream.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => upstream.delete(socket));
    socket.pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
  const address = echo.address() as { port: number };
  proxy = await TcpProxy.open({ host: "127.0.0.1", port: address.port });
  client = await connectClient();
});
afterEach(async () => {
  client.destroy();
  await proxy.close();
  for (const socket of upstream) socket.destroy();
  await new Promise((resolve) => echo.close(resolve));
});

async function connectClient(): Promise<Socket> {
  const socket = dial(proxy.port, "127.0.0.1");
  heard = "";
  ended = null;
  newest = socket;
  // A socket of the test before may still be closing.
  const note = (act: () => void) => () => newest === socket && act();
  socket.on("data", (chunk) => note(() => (heard += chunk.toString()))());
  socket.on("error", (error: NodeJS.ErrnoException) => note(() => (ended = error.code ?? "error"))());
  socket.on(
    "close",
    note(() => (ended ??= "closed")),
  );
  await once(socket, "connect");
  return socket;
}

const say = async (text: string) => {
  client.write(text);
  await until(text, () => heard.endsWith(text));
};

test("passes everything while nothing is wrong", async () => {
  await say("one");
  await say("two");
  expect(heard).toBe("onetwo");
});

test("delays in order, and what comes after does not overtake", async () => {
  await say("a");
  proxy.fail({ kind: "delay", ms: 60 });
  client.write("b");
  await until("it is on its way", () => upstream.size === 1);
  client.write("c");
  proxy.heal();
  await say("d");
  expect(heard).toBe("abcd");
});

test("cuts in the middle of a chunk, once", async () => {
  await say("a");
  proxy.fail({ kind: "cut" });
  client.write("0123456789");
  await until("the end", () => ended);
  expect(heard).toBe("a01234");
  await until("both sides are gone", () => upstream.size === 0 && proxy.connections === 0);
  client = await connectClient();
  await say("whole again");
});

test("half-open: the server's side is gone, the client hears nothing until it heals", async () => {
  await say("a");
  proxy.fail({ kind: "half-open" });
  await until("the server's side is gone", () => upstream.size === 0);
  client.write("into the void");
  expect(ended).toBeNull();
  proxy.heal();
  await until("the end", () => ended);
  expect(heard).toBe("a");
});

test("a black hole swallows, and what lost bytes is ended when it heals", async () => {
  await say("a");
  proxy.fail({ kind: "blackhole" });
  const other = await connectClient();
  client.write("lost");
  other.write("lost too");
  await until("both are swallowed", () => proxy.connections === 2);
  proxy.heal();
  await until("the end", () => proxy.connections === 0 || ended);
  other.destroy();
});

test("resets what is open and what comes", async () => {
  await say("a");
  proxy.fail({ kind: "reset" });
  await until("the reset", () => ended);
  expect(ended).toBe("ECONNRESET");
  const next = dial(proxy.port, "127.0.0.1");
  const [error] = (await once(next, "error")) as [NodeJS.ErrnoException];
  expect(error.code).toBe("ECONNRESET");
});

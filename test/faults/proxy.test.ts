// The faulty wire does what it is told, and nothing else. No test waits for a time to pass: what must not arrive is proved
// by something sent later that did (`settle`), what must end by itself by the event of its end.
import { once } from "node:events";
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FaultProxy, openProxy } from "./proxy.ts";

/** One end of a connection: what it heard, and how that ended. */
class End {
  readonly socket: Socket;
  heard = "";
  /** Does not answer an end with its own. */
  staysOpen = false;
  /** "end" is a FIN alone. */
  over: "end" | "closed" | string | undefined;
  #news: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    const note = (act: () => void) => () => {
      act();
      for (const wake of this.#news.splice(0)) wake();
    };
    socket.setNoDelay(true);
    socket.on("data", (chunk) => note(() => (this.heard += chunk.toString()))());
    socket.on(
      "end",
      note(() => {
        this.over ??= "end";
        if (!this.staysOpen) socket.end();
      }),
    );
    socket.on("error", (error: NodeJS.ErrnoException) => note(() => (this.over = error.code ?? "error"))());
    socket.on(
      "close",
      note(() => (this.over = this.over === undefined || this.over === "end" ? "closed" : this.over)),
    );
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#news.push(resolve));
  }

  async hears(text: string): Promise<void> {
    await this.until(() => this.heard.length >= text.length || this.over !== undefined);
    expect(this.heard).toBe(text);
  }

  async ends(how: string): Promise<void> {
    await this.until(() => this.socket.destroyed && this.over !== undefined && this.over !== "end");
    expect(this.over).toBe(how);
  }
}

interface Upstream {
  readonly server: Server;
  readonly port: number;
  readonly ends: End[];
  /** The nth connection it got, waited for. */
  nth(n: number): Promise<End>;
}

async function openUpstream(): Promise<Upstream> {
  const ends: End[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => ends.push(new End(socket)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    server,
    port: (server.address() as AddressInfo).port,
    ends,
    async nth(n) {
      while (ends.length < n) await once(server, "connection");
      return ends[n - 1] as End;
    },
  };
}

async function closeUpstream({ server, ends }: Upstream): Promise<void> {
  for (const { socket } of ends) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
}

let upstream: Upstream;
let proxy: FaultProxy;
const clients: End[] = [];

beforeEach(async () => {
  upstream = await openUpstream();
  proxy = await openProxy({ host: "127.0.0.1", port: upstream.port });
});
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy();
  await proxy.close();
  await closeUpstream(upstream);
});

function knock(): End {
  const end = new End(dial(proxy.port, "127.0.0.1"));
  clients.push(end);
  return end;
}

async function connectClient(): Promise<End> {
  const end = knock();
  await once(end.socket, "connect");
  return end;
}

/** A connection through the proxy, both of its ends. */
async function openPair(): Promise<{ client: End; server: End }> {
  const client = await connectClient();
  return { client, server: await upstream.nth(upstream.ends.length + 1) };
}

const ROUND_TRIPS = 10;

/** Bytes written before have had every chance to go wherever they go: later ones went to and fro past the proxy. */
async function settle(): Promise<void> {
  const echo = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  await once(echo, "listening");
  const socket = dial((echo.address() as AddressInfo).port, "127.0.0.1");
  for (let n = 0; n < ROUND_TRIPS; n += 1) {
    socket.write("x");
    await once(socket, "data");
  }
  socket.destroy();
  await new Promise((resolve) => echo.close(resolve));
}

/** Both ends hear each other. */
async function expectWhole({ client, server }: { client: End; server: End }): Promise<void> {
  client.heard = "";
  server.heard = "";
  client.socket.write("ask");
  await server.hears("ask");
  server.socket.write("answer");
  await client.hears("answer");
}

test("passes bytes, half-closes and ends while nothing is wrong", async () => {
  const pair = await openPair();
  await expectWhole(pair);
  expect(proxy.connections).toBe(1);
  pair.server.staysOpen = true;
  pair.client.socket.end("bye");
  await pair.server.until(() => pair.server.over === "end");
  expect(pair.server.heard).toBe("askbye");
  pair.server.socket.end("late");
  await pair.client.ends("closed");
  expect(pair.client.heard).toBe("answerlate");
  await pair.server.ends("closed");
  await settle();
  expect(proxy.connections).toBe(0);
});

test("a fast sender waits for a slow reader, and nothing is lost", async () => {
  const { client, server } = await openPair();
  client.socket.pause();
  const chunks = 512;
  let sent = 0;
  const pump = () => {
    while (sent < chunks) {
      sent += 1;
      if (!server.socket.write(Buffer.alloc(64 * 1024, "x"))) return;
    }
    server.socket.end();
  };
  server.socket.on("drain", pump);
  pump();
  // More than the kernel's buffers hold: it comes to a halt before it is through.
  for (let before = -1; sent > before; ) {
    before = sent;
    await settle();
  }
  expect(sent).toBeLessThan(chunks);
  client.socket.resume();
  await client.ends("closed");
  expect(client.heard.length).toBe(chunks * 64 * 1024);
});

test("a peer that ends abruptly takes the other side with it", async () => {
  const first = await openPair();
  first.client.socket.resetAndDestroy();
  await first.server.ends("closed");
  const second = await openPair();
  second.server.socket.resetAndDestroy();
  await second.client.ends("closed");
  await settle();
  expect(proxy.connections).toBe(0);
});

test("delays both directions and keeps the order, also of what comes after it", async () => {
  const { client, server } = await openPair();
  proxy.delay(80);
  const began = performance.now();
  client.socket.write("1");
  server.socket.write("a");
  await settle();
  expect(server.heard + client.heard).toBe("");
  client.socket.write("2");
  server.socket.write("b");
  await Promise.all([server.hears("12"), client.hears("ab")]);
  // A timer may fire a millisecond early by this clock.
  expect(performance.now() - began).toBeGreaterThanOrEqual(79);
  proxy.delay(60_000);
  client.socket.write("3");
  await settle();
  proxy.pass();
  client.socket.write("4");
  await server.hears("1234");
});

test("an end is as late as the bytes before it", async () => {
  const { client, server } = await openPair();
  proxy.delay(60_000);
  client.socket.end("last words");
  await settle();
  expect([server.heard, server.over]).toEqual(["", undefined]);
  proxy.pass();
  await server.until(() => server.over === "end");
  expect(server.heard).toBe("last words");
});

test("a delay ends by itself", async () => {
  const pair = await openPair();
  proxy.delay(60_000, 30);
  await expectWhole(pair);
  expect(proxy.mode).toEqual({ kind: "pass" });
});

test("cuts the next chunk towards the client in half, once", async () => {
  const pair = await openPair();
  await expectWhole(pair);
  proxy.cutMidFrame();
  pair.client.socket.write("towards the server nothing is cut");
  await pair.server.hears("asktowards the server nothing is cut");
  pair.server.socket.write("0123456789");
  await pair.client.until(() => pair.client.over !== undefined);
  expect(pair.client.heard).toBe("answer01234");
  await pair.server.ends("closed");
  await expectWhole(await openPair());
});

test("cuts as often as it is told, each time another connection", async () => {
  proxy.cutMidFrame(2);
  for (let n = 0; n < 2; n += 1) {
    const { client, server } = await openPair();
    server.socket.write("abcd");
    await client.until(() => client.over !== undefined);
    expect(client.heard).toBe("ab");
  }
  expect(proxy.mode).toEqual({ kind: "pass" });
  await expectWhole(await openPair());
});

test("half-open: the server's side is gone, the client hears nothing until bytes pass again", async () => {
  const { client, server } = await openPair();
  proxy.halfOpen();
  await server.ends("closed");
  client.socket.write("into the void");
  const late = await connectClient();
  late.socket.write("so is this");
  await settle();
  expect([client.over, late.over, client.heard, late.heard]).toEqual([undefined, undefined, "", ""]);
  expect(upstream.ends.length).toBe(1);
  proxy.pass();
  await Promise.all([client.ends("closed"), late.ends("closed")]);
  await expectWhole(await openPair());
});

test("half-open ends by itself", async () => {
  const { client } = await openPair();
  proxy.halfOpen(30);
  await client.ends("closed");
});

test("a black hole swallows both directions, on connections old and new, and gives nothing back", async () => {
  const { client, server } = await openPair();
  proxy.blackhole();
  client.socket.write("lost");
  server.socket.write("lost too");
  const late = await connectClient();
  late.socket.write("never sent");
  await settle();
  expect(proxy.connections).toBe(2);
  expect([client.heard, server.heard, late.heard]).toEqual(["", "", ""]);
  expect([client.over, server.over, late.over]).toEqual([undefined, undefined, undefined]);
  proxy.pass();
  await Promise.all([client.ends("closed"), server.ends("closed"), late.ends("closed")]);
  expect([client.heard, server.heard, late.heard]).toEqual(["", "", ""]);
  expect(upstream.ends.length).toBe(1);
  await expectWhole(await openPair());
});

test("a black hole swallows ends and resets as well", async () => {
  const ended = await openPair();
  const reset = await openPair();
  proxy.blackhole();
  ended.client.socket.end();
  reset.client.socket.resetAndDestroy();
  await settle();
  expect([ended.server.over, reset.server.over]).toEqual([undefined, undefined]);
  proxy.pass();
  await Promise.all([ended.server.ends("closed"), reset.server.ends("closed")]);
});

test("what a delay held back is lost in a black hole", async () => {
  const { client, server } = await openPair();
  proxy.delay(60_000);
  client.socket.write("on its way");
  await settle();
  proxy.blackhole(30);
  await server.ends("closed");
  expect(server.heard).toBe("");
});

test("resets every open connection with an RST, and only those", async () => {
  const pairs = [await openPair(), await openPair()];
  proxy.reset();
  for (const { client, server } of pairs) {
    await client.ends("ECONNRESET");
    await server.ends("ECONNRESET");
  }
  await expectWhole(await openPair());
});

test("with a time, a reset hits what connects in it", async () => {
  proxy.reset(60_000);
  await knock().ends("ECONNRESET");
  proxy.pass();
  await expectWhole(await openPair());
});

test("refuses what is new and keeps what is open", async () => {
  const pair = await openPair();
  proxy.refuse();
  const refused = knock();
  await refused.until(() => refused.over !== undefined);
  expect(refused.heard).toBe("");
  await expectWhole(pair);
  expect(proxy.connections).toBe(1);
  proxy.pass();
  await expectWhole(await openPair());
});

test("its mode can be set as data, and is the same fault", async () => {
  const { client } = await openPair();
  proxy.mode = { kind: "reset" };
  await client.ends("ECONNRESET");
  proxy.mode = { kind: "pass" };
  await expectWhole(await openPair());
});

test("a target that is away ends its clients quietly; one that comes back elsewhere is found", async () => {
  const other = await openUpstream();
  const old = await openPair();
  proxy.target = { host: "127.0.0.1", port: other.port };
  const client = await connectClient();
  await expectWhole({ client, server: await other.nth(1) });
  await expectWhole(old);
  await closeUpstream(other);
  const orphan = knock();
  await orphan.until(() => orphan.over !== undefined);
  expect(orphan.heard).toBe("");
  proxy.target = { host: "127.0.0.1", port: upstream.port };
  await expectWhole(await openPair());
});

test.each(["pass", "half-open", "blackhole"] as const)(
  "closed while in %s, it leaves nothing open",
  async (kind) => {
    const { client, server } = await openPair();
    const half = await openPair();
    half.server.staysOpen = true;
    half.client.socket.end();
    await half.server.until(() => half.server.over === "end");
    proxy.mode = { kind };
    const late = await connectClient();
    await proxy.close();
    expect(proxy.connections).toBe(0);
    await Promise.all([client.ends("closed"), server.ends("closed"), half.client.ends("closed")]);
    await late.until(() => late.over !== undefined);
    await knock().ends("ECONNREFUSED");
    await proxy.close();
  },
);

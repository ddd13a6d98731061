// Each bound on connections, streams, headers, time and pages: what is within it passes, what is beyond it is told so,
// and whoever is slow or greedy goes while the others are served.
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { listen, post, send } from "../delivery/listener.ts";
import { ADMIN_KEY, type Issued, issueKey } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { exchange, open, parseAnswer, type Raw } from "./wire.ts";

let server: TestServer;
afterEach(() => server.close());
const start = async (env: Record<string, string>): Promise<void> => {
  server = await startTestServer({ env });
};

const GET_HEALTH = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/** A connection that has been served, and stays. */
async function kept(): Promise<{ socket: Socket; status: number; bytes: string }> {
  const socket = open(server);
  const answered = once(socket, "data") as Promise<[Buffer]>;
  socket.write(GET_HEALTH);
  const bytes = (await answered)[0].toString("latin1");
  return { socket, status: parseAnswer(bytes).status, bytes };
}

async function left(socket: Socket): Promise<void> {
  const closed = once(socket, "close");
  socket.destroy();
  await closed;
}

const connections = (): Promise<number> =>
  new Promise((resolve, reject) =>
    server.app.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  );

test("connections up to the bound are served, the next is told when to come back, and is served once one has left", async () => {
  await start({ PERDURE_CONNECTIONS_MAX: "5" });
  const served = await Promise.all(Array.from({ length: 5 }, kept));
  expect(served.map((one) => one.status)).toEqual([200, 200, 200, 200, 200]);
  const refused = await exchange(server, GET_HEALTH);
  expect(refused.status).toBe(503);
  expect(JSON.parse(refused.body)).toMatchObject({ code: "too_many_connections", retryable: true });
  expect(refused.headers).toMatchObject({ "retry-after": "2", connection: "close" });
  await left((served[0] as { socket: Socket }).socket);
  await until("room", async () => (await connections()) === 4);
  const later = await kept();
  expect(later.status).toBe(200);
  for (const { socket } of [...served, later]) socket.destroy();
});

test("a flood of connections that ask nothing is cut off once the room for refusals is full", async () => {
  await start({ PERDURE_CONNECTIONS_MAX: "5" });
  const early = await kept();
  const flood = Array.from({ length: 60 }, () => open(server));
  await until("the surplus is cut off", () => flood.filter((socket) => socket.closed).length >= 60 - 21);
  early.socket.write(GET_HEALTH);
  const [again] = (await once(early.socket, "data")) as [Buffer];
  expect(again.toString()).toContain("200 OK");
  for (const socket of [...flood, early.socket]) socket.destroy();
});

test("one client opens so many streams and no more", async () => {
  await start({ PERDURE_STREAMS_PER_CLIENT_MAX: "2" });
  const id = await send(server, "many");
  const first = await listen(server, "one");
  const following = await fetch(`${server.url}/v1/intents/${id}/events/stream`);
  expect(following.status).toBe(200);
  const third = await listen(server, "three");
  expect(third.refusal).toMatchObject({ status: 429, body: { code: "too_many_streams" }, retryAfter: "5" });
  const { rows } = await server.store.pool.query("select 1 from consumers where address like '%/three'");
  expect(rows).toEqual([]);
  first.cut();
  await until("its place", async () => (await listen(server, "three")).refusal === undefined);
  await following.body?.cancel();
});

test("answers that are held count as open streams, and whoever may not wait has stored nothing", async () => {
  await start({ PERDURE_STREAMS_PER_CLIENT_MAX: "2" });
  const id = await send(server, "held");
  const path = `/v1/intents/${id}`;
  const held = [
    fetch(`${server.url}${path}?wait=50`),
    fetch(`${server.url}/v1/agents/idle/claim`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ consumer: "c", wait_seconds: 50, lease_seconds: 600 }),
    }),
  ];
  await until("two are held", async () => (await listen(server, "third")).refusal?.status === 429);
  const create = () => call(server, "POST", "/v1/intents?wait=1", { intent_type: "a", to_agent: "held" });
  for (const answer of [await call(server, "GET", `${path}?wait=1`), await create()])
    expect(answer).toMatchObject({ status: 429, body: { code: "too_many_streams" } });
  const { rows } = await server.store.pool.query("select count(*)::int as n from intents");
  expect(rows[0].n).toBe(1);
  expect((await call(server, "GET", path)).status).toBe(200);
  await post(server, id, "cancel", {});
  expect((await held[0])?.status).toBe(200);
  await until("its place", async () => (await create()).status === 200);
  // It ends with the server.
  held[1]?.catch(() => undefined);
});

const BODY_BYTES = 9_000;

test("unfinished bodies hold so much in all, and half of it those of one client", async () => {
  await start({
    PERDURE_ADMIN_KEY: ADMIN_KEY,
    PERDURE_BODIES_MAX_BYTES: "40000",
    PERDURE_BATCH_BODY_MAX_BYTES: "20000",
    PERDURE_BODY_MAX_BYTES: "20000",
    PERDURE_PAYLOAD_MAX_BYTES: "20000",
    PERDURE_RESULT_MAX_BYTES: "20000",
  });
  const keys = await Promise.all(
    ["a", "b", "c"].map((name) => issueKey(server, `acme/prod/${name}`, ["send"])),
  );
  const [greedy, other, third] = keys as [Issued, Issued, Issued];
  const body = JSON.stringify({ intent_type: "a", to_agent: "b", payload: { x: "" } });
  const full = body.replace('""', `"${"x".repeat(BODY_BYTES - body.length)}"`);
  const head = ({ text }: Issued) => `${HEAD}x-api-key: ${text}\r\nconnection: close\r\n`;
  const length = `content-length: ${full.length}`;
  const chunk = `${full.length.toString(16)}\r\n${full}`;
  let stored = 0;
  const counting = async (answer: Promise<Raw>): Promise<Raw> => {
    if ((await answer).status === 200) stored += 1;
    return answer;
  };
  const whole = (key: Issued) => counting(exchange(server, `${head(key)}${length}\r\n\r\n${full}`));
  const chunked = (key: Issued) =>
    counting(exchange(server, `${head(key)}transfer-encoding: chunked\r\n\r\n${chunk}\r\n0\r\n\r\n`));
  expect([(await whole(greedy)).status, (await chunked(greedy)).status]).toEqual([200, 200]);
  /** All but the last byte. */
  const heldBack = async (key: Issued, framing: string, text: string): Promise<Socket> => {
    const read = once(server.app.server, "request");
    const socket = open(server);
    socket.write(`${head(key)}${framing}\r\n\r\n${text.slice(0, -1)}`);
    await read;
    return socket;
  };
  const sockets = [
    await heldBack(greedy, length, full),
    await heldBack(greedy, "transfer-encoding: chunked", chunk),
  ];
  await until("its share is taken", async () => (await whole(greedy)).status === 429);
  expect(JSON.parse((await whole(greedy)).body)).toMatchObject({ code: "too_much_at_once", retryable: true });
  expect((await chunked(greedy)).status).toBe(429);
  expect([(await whole(other)).status, (await chunked(other)).status]).toEqual([200, 200]);
  sockets.push(await heldBack(other, length, full), await heldBack(other, length, full));
  await until("all is taken", async () => (await whole(third)).status === 429);
  await Promise.all(sockets.map(left));
  await until("room", async () => (await whole(greedy)).status === 200);
  await until("more room", async () => (await chunked(greedy)).status === 200);
  const { rows } = await server.store.pool.query("select count(*)::int as n from intents");
  expect(rows[0].n).toBe(stored);
});

test("so many agents listen on one address and no more, and a refused one keeps no place", async () => {
  await start({ PERDURE_STREAMS_PER_ADDRESS_MAX: "2" });
  const agents = await Promise.all(["a", "b"].map((consumer) => listen(server, "shared", { consumer })));
  expect(agents.map((agent) => agent.refusal)).toEqual([undefined, undefined]);
  for (let n = 0; n < 3; n += 1) {
    const refused = await listen(server, "shared", { consumer: `c${n}` });
    expect(refused.refusal).toMatchObject({ status: 429, body: { code: "too_many_streams" } });
  }
  expect((await listen(server, "other")).refusal).toBeUndefined();
  agents[0]?.cut();
  await until(
    "its place",
    async () => (await listen(server, "shared", { consumer: "d" })).refusal === undefined,
  );
  expect((await listen(server, "shared", { consumer: "e" })).refusal?.status).toBe(429);
});

test("an agent that comes back before its old connection is known to be gone needs no second place", async () => {
  await start({ PERDURE_STREAMS_PER_ADDRESS_MAX: "2" });
  const agent = (consumer: string) => listen(server, "full", { consumer, incarnation: consumer });
  await Promise.all([agent("a"), agent("b")]);
  expect((await agent("a")).refusal).toBeUndefined();
  expect((await agent("c")).refusal).toMatchObject({ status: 429, body: { code: "too_many_streams" } });
});

test("headers up to the bound are read, larger ones are refused", async () => {
  await start({ PERDURE_HEADERS_MAX_BYTES: "4096" });
  const ask = (bytes: number) =>
    call(server, "GET", "/v1/intents", undefined, { "x-large": "x".repeat(bytes) });
  expect((await ask(3_000)).status).toBe(200);
  expect(await ask(4_096)).toMatchObject({ status: 431, body: { code: "headers_too_large" } });
});

/** Sends the first part, then a byte now and then for as long as anybody listens. */
function trickle(beginning: string): Promise<string> {
  const socket = open(server);
  let heard = "";
  socket.on("data", (chunk) => (heard += chunk.toString()));
  socket.write(beginning);
  const drops = setInterval(() => socket.writable && socket.write("x"), 50);
  return once(socket, "close").then(() => {
    clearInterval(drops);
    return heard;
  });
}

const HEAD = "POST /v1/intents HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\n";

test("headers and bodies that trickle are given up on, while others are served at once", async () => {
  await start({ PERDURE_HEADERS_TIMEOUT_MS: "1000", PERDURE_REQUEST_TIMEOUT_MS: "1000" });
  const slow = [`${HEAD}x-slow: `, `${HEAD}content-length: 100000\r\n\r\n{"a":"`];
  const trickles = Array.from({ length: 40 }, (_, n) => trickle(slow[n % 2] ?? ""));
  let open = true;
  const ended = Promise.all(trickles).then((heard) => {
    open = false;
    return heard;
  });
  let served = 0;
  while (open) {
    const created = await call(server, "POST", "/v1/intents", { intent_type: "a", to_agent: "healthy" });
    expect(created.status).toBe(200);
    served += 1;
  }
  expect(served).toBeGreaterThan(1);
  for (const heard of await ended) expect(heard).toContain(" 408 ");
});

test("headers have less time than a body, when told so", async () => {
  await start({ PERDURE_HEADERS_TIMEOUT_MS: "1000", PERDURE_REQUEST_TIMEOUT_MS: "600000" });
  expect(await trickle(`${HEAD}x-slow: `)).toContain('"code":"request_timeout"');
});

test("a connection that asks nothing more is closed", async () => {
  await start({ PERDURE_IDLE_TIMEOUT_MS: "1000" });
  const { socket, bytes } = await kept();
  expect(bytes).toMatch(/keep-alive: timeout=1\b/i);
  await once(socket, "close");
});

const STALL_MS = 1_500;
const STALL = { PERDURE_STALL_TIMEOUT_MS: String(STALL_MS), PERDURE_KEEP_ALIVE_MS: "200" };
/** More than the kernel's buffers take for a reader that does not read. */
const LARGE = "x".repeat(900_000);
const LARGE_COUNT = 14;

/** Asks, reads nothing, and has lost its connection in the end; meanwhile others are served. */
async function neverRead(path: string): Promise<void> {
  const accepted: Socket[] = [];
  server.app.server.on("connection", (one: Socket) => accepted.push(one));
  const socket = open(server);
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  const peer = await until("it is connected", () =>
    accepted.find((one) => one.remotePort === socket.localPort),
  );
  const asked = performance.now();
  await until("the answer is stuck", () => peer.writableLength > 0);
  await until("it is cut off", async () => {
    expect((await call(server, "GET", "/ready")).status).toBe(200);
    return peer.destroyed;
  });
  expect(performance.now() - asked).toBeGreaterThan(STALL_MS);
  socket.destroy();
}

test("a reader that takes nothing of a large answer is cut off", async () => {
  await start({ ...STALL, PERDURE_PAGE_MAX_BYTES: "67108864" });
  // One by one: nothing moves on a connection while what it brought is being committed.
  const body = { intent_type: "a", to_agent: "b", payload: { LARGE } };
  for (let n = 0; n < LARGE_COUNT; n += 1)
    expect((await call(server, "POST", "/v1/intents", body)).status).toBe(200);
  await neverRead("/v1/intents?include=payload&limit=500");
});

test("answers that nobody reads hold so much and no more", async () => {
  await start({ PERDURE_PAGE_MAX_BYTES: "67108864", PERDURE_BODIES_MAX_BYTES: "80000000" });
  const intents = Array.from({ length: LARGE_COUNT }, () => ({
    intent_type: "a",
    to_agent: "b",
    payload: { LARGE },
  }));
  expect((await call(server, "POST", "/v1/intents/batch", { intents })).status).toBe(200);
  const path = "/v1/intents?include=payload";
  expect((await call(server, "GET", path)).status).toBe(200);
  const unread: Socket[] = [];
  await until("no more room", async () => {
    const socket = open(server);
    socket.pause();
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    unread.push(socket);
    return (await call(server, "GET", path)).status === 429;
  });
  expect(unread.length).toBeLessThan(10);
  expect((await call(server, "GET", "/v1/intents")).status).toBe(200);
  expect((await call(server, "POST", "/v1/intents", { intent_type: "a", to_agent: "b" })).status).toBe(200);
  await Promise.all(unread.map(left));
  await until("room", async () => (await call(server, "GET", path)).status === 200);
});

test("a reader that takes nothing of an event stream is cut off, and a silent stream that is read is not", async () => {
  await start({ ...STALL, PERDURE_FRAME_MAX_BYTES: "2000000" });
  const healthy = await listen(server, "healthy");
  const id = await send(server, "stalled");
  await call(server, "POST", "/v1/agents/stalled/claim", { consumer: "c", lease_seconds: 600 });
  for (let n = 0; n < LARGE_COUNT; n += 1) {
    const told = await post(server, id, "progress", { attempt: 1, data: LARGE });
    expect(told.status, JSON.stringify(told.body)).toBe(200);
  }
  await neverRead(`/v1/intents/${id}/events/stream`);
  expect(healthy.ended).toBe(false);
  healthy.cut();
});

test("a page has so many elements and no more", async () => {
  await start({ PERDURE_PAGE_MAX: "10" });
  expect((await call(server, "GET", "/v1/intents?limit=10")).status).toBe(200);
  for (const path of ["/v1/intents", "/v1/state", "/v1/state/session:s", "/v1/me/tasks", "/v1/sessions"]) {
    const refused = await call(server, "GET", `${path}?limit=11`);
    expect(refused.status, path).toBe(422);
    expect(refused.body.errors[0].pointer).toBe("?limit");
  }
});

/** All pages of a list, by the names of their elements. */
async function pagesOf(path: string, name: (element: { key: string; version: number }) => unknown) {
  const pages: unknown[][] = [];
  for (let cursor = ""; ; ) {
    const { body } = await call(server, "GET", `${path}?limit=10${cursor}`);
    pages.push((body.entries ?? body.versions).map(name));
    if (body.next_cursor === null) return pages;
    cursor = `&cursor=${body.next_cursor}`;
  }
}

test("a page of state ends early by its bytes, loses nothing, and always has an element", async () => {
  await start({ PERDURE_PAGE_MAX_BYTES: "1000000" });
  const put = (key: string, size: number) =>
    call(server, "PUT", `/v1/state/session:s/${key}`, { value: "x".repeat(size) });
  for (const [key, size] of [
    ["a", 400_000],
    ["b", 400_000],
    ["c", 900_000],
    ["d", 1_000_000],
    ["e", 10],
  ] as const)
    expect((await put(key, size)).status).toBe(200);
  expect(await pagesOf("/v1/state/session:s", (one) => one.key)).toEqual([["a", "b"], ["c"], ["d"], ["e"]]);
  for (const size of [700_000, 10, 10]) await put("a", size);
  expect(await pagesOf("/v1/state/session:s/a/versions", (one) => one.version)).toEqual([[4, 3, 2], [1]]);
});

test("writes beyond the queue's length are told to come back, and are not stored", async () => {
  await start({ PERDURE_QUEUE_MAX: "3" });
  const answers = await Promise.all(
    Array.from({ length: 60 }, () =>
      call(server, "POST", "/v1/intents", { intent_type: "a", to_agent: "queue" }),
    ),
  );
  const refused = answers.filter((answer) => answer.status !== 200);
  expect(refused.length).toBeGreaterThan(0);
  for (const answer of refused) {
    expect(answer).toMatchObject({ status: 503, body: { code: "unavailable" } });
    expect(answer.headers.get("retry-after")).toBe("1");
  }
  const { rows } = await server.store.pool.query("select count(*)::int as n from intents");
  expect(rows[0].n).toBe(60 - refused.length);
});

test("names, keys, texts, metadata, capacities and checkpoints are as long, as large and as many as they are set to be", async () => {
  await start({
    PERDURE_NAME_MAX: "20",
    PERDURE_KEY_MAX: "40",
    PERDURE_TEXT_MAX: "200",
    PERDURE_METADATA_MAX_BYTES: "50",
    PERDURE_CAPACITY_MAX: "3",
    PERDURE_CHECKPOINTS_MAX: "2",
  });
  const create = async (more: Record<string, unknown>) =>
    (await call(server, "POST", "/v1/intents", { intent_type: "a", to_agent: "b", ...more })).status;
  expect(await create({ intent_type: "t".repeat(20), steps: ["k".repeat(40)], metadata: { m: "x" } })).toBe(
    200,
  );
  expect(await create({ intent_type: "t".repeat(21) })).toBe(422);
  expect(await create({ steps: ["k".repeat(41)] })).toBe(422);
  expect(await create({ metadata: { m: "x".repeat(50) } })).toBe(422);
  const id = await send(server, "bounded");
  expect((await post(server, id, "cancel", { reason: "r".repeat(201) })).status).toBe(422);
  expect((await call(server, "POST", "/v1/agents/b/claim", { consumer: "c", max: 4 })).status).toBe(422);
  const checkpoint = (name: string) => call(server, "PUT", `/v1/intents/${id}/checkpoints/${name}`, {});
  expect((await checkpoint("a")).status).toBe(200);
  expect((await checkpoint("b")).status).toBe(200);
  expect((await checkpoint("c")).status).toBe(422);
});

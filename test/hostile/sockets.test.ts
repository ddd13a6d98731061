// What never becomes a request, or only half of one: bytes on a socket that no HTTP client would send.
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { CANARY } from "./values.ts";
import { exchange, open } from "./wire.ts";
import { faultsOf, stored } from "./witness.ts";

const KEY = "hostile-test-key-0123456789";
const BODY = JSON.stringify({ intent_type: "a", to_agent: "b", payload: { [CANARY]: 1 } });
const HEAD = `Host: localhost\r\nx-api-key: ${KEY}\r\ncontent-type: application/json\r\n`;

let server: TestServer;
let log = "";
beforeAll(async () => {
  server = await startTestServer({
    env: { PERDURE_ADMIN_KEY: KEY, PERDURE_LOG_LEVEL: "debug", PERDURE_REQUEST_TIMEOUT_MS: "1000" },
    log: (line) => (log += line),
  });
  await Promise.all(Object.values(server.sweepers).map((worker) => worker.stop()));
});
afterAll(() => server.close());

/** A create whose framing is `headers` and whose bytes after the head are `body`. */
const create = (headers: string, body: string): string =>
  `POST /v1/intents HTTP/1.1\r\n${HEAD}connection: close\r\n${headers}\r\n${body}`;
const get = (headers: string, path = "/v1/intents"): string =>
  `GET ${path} HTTP/1.1\r\n${HEAD}connection: close\r\n${headers}\r\n`;

type Horror = readonly [what: string, status: number, bytes: string];

const HORRORS: readonly Horror[] = [
  ["ten megabytes of one header", 431, get(`x-big: ${"x".repeat(10_000_000)}\r\n`)],
  ["a hundred thousand headers", 431, get("x: y\r\n".repeat(100_000))],
  ["a URL of 100 kB", 431, get("", `/v1/intents?session=${"x".repeat(100_000)}`)],
  ["a path of 10 kB", 414, get("", `/v1/intents/${"x".repeat(10_000)}`)],
  ["a header name with a space", 400, get("x y: z\r\n")],
  ["a header without a colon", 400, get("nonsense\r\n")],
  ["a folded header", 400, get("x-a: b\r\n c: d\r\n")],
  ["a NUL in a header", 400, get("x-request-id: a\0b\r\n")],
  ["a bare CR in a header", 400, get("x-request-id: a\rx-evil: 1\r\n")],
  ["no Host", 400, `GET /v1/intents HTTP/1.1\r\nx-api-key: ${KEY}\r\nconnection: close\r\n\r\n`],
  ["two Hosts", 400, get("Host: evil.example\r\n")],
  ["two lengths", 400, create(`content-length: ${BODY.length}\r\ncontent-length: 3\r\n`, BODY)],
  ["a negative length", 400, create("content-length: -1\r\n", BODY)],
  ["a length beyond 2^64", 400, create("content-length: 18446744073709551617\r\n", BODY)],
  ["a length of 2 GB", 413, create("content-length: 2147483648\r\n", BODY)],
  ["a length that is too short", 400, create("content-length: 10\r\n", BODY)],
  ["a length and chunks", 400, create("content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n")],
  ["an unknown transfer encoding", 400, create("transfer-encoding: gzip\r\n", BODY)],
  ["chunks without sizes", 400, create("transfer-encoding: chunked\r\n", BODY)],
  [
    "a chunk of more than 2^64",
    400,
    create("transfer-encoding: chunked\r\n", `FFFFFFFFFFFFFFFFF\r\n${BODY}`),
  ],
  [
    "a chunk that is longer than it says",
    400,
    create("transfer-encoding: chunked\r\n", `2\r\n${BODY}\r\n0\r\n\r\n`),
  ],
  [
    "endless chunk extensions",
    400,
    create("transfer-encoding: chunked\r\n", `2;${"x".repeat(100_000)}\r\n{}\r\n0\r\n\r\n`),
  ],
  [
    "endless trailers",
    431,
    create("transfer-encoding: chunked\r\n", `2\r\n{}\r\n0\r\n${"x: y\r\n".repeat(50_000)}\r\n`),
  ],
  ["line ends without CR", 400, get("").replaceAll("\r\n", "\n")],
  ["no version", 400, "GET /v1/intents\r\n\r\n"],
  ["version 9.9", 400, "GET /v1/intents HTTP/9.9\r\nHost: localhost\r\n\r\n"],
  ["HTTP/2 with prior knowledge", 400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["TLS", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ["a method of nobody's", 400, get("").replace("GET", "OWN")],
  ["TRACE", 404, get("").replace("GET", "TRACE")],
  ["CONNECT", 405, `CONNECT evil.example:443 HTTP/1.1\r\n${HEAD}\r\n`],
  ["an expectation of nobody's", 417, create(`expect: wonders\r\ncontent-length: ${BODY.length}\r\n`, BODY)],
  ["a control character in the path", 400, get("", "/v1/in\x01tents")],
  ["a broken percent encoding", 400, get("", "/v1/intents/%zz")],
  ["a path that climbs", 404, get("", "/v1/../../etc/passwd")],
  ["a path that climbs, encoded", 422, get("", "/v1/intents/..%2f..%2f..%2fetc%2fpasswd")],
  ["a path that climbs, encoded twice", 422, get("", "/v1/intents/%252e%252e%252f")],
  ["an empty segment", 422, get("", "/v1/intents//events")],
];

/** These hold the server up until its patience ends. */
const NEVER_ENDING: readonly Horror[] = [
  ["a length that is too long", 408, create(`content-length: ${BODY.length + 1}\r\n`, BODY)],
  ["chunks that never end", 408, create("transfer-encoding: chunked\r\n", `2\r\n{}\r\n`)],
  ["half a head", 408, "GET /v1/intents HTTP/1.1\r\nHost: loc"],
  ["half a request line", 408, "GET /v1/int"],
];

async function judge([what, status, bytes]: Horror): Promise<void> {
  const answer = await exchange(server, Buffer.from(bytes, "latin1"));
  expect(answer.status, `${what}: ${answer.bytes.slice(0, 1_000)}`).toBe(status);
  const request = { method: "GET", path: "", headers: [] };
  expect(faultsOf(request, answer, KEY), `${what}: ${answer.bytes.slice(0, 1_000)}`).toEqual([]);
}

describe("refused in words, with nothing stored, and without a word of what was sent:", () => {
  test.each(HORRORS)("%s is %i", async (...horror) => {
    const before = await stored(server);
    log = "";
    await judge(horror);
    expect(await stored(server)).toBe(before);
    expect(log).not.toContain(CANARY);
    expect(log).not.toContain(KEY);
  });

  test("what never ends, which is given up on", async () => {
    const before = await stored(server);
    log = "";
    await Promise.all(NEVER_ENDING.map(judge));
    expect(await stored(server)).toBe(before);
    expect(log).not.toContain(CANARY);
  });
});

test("a header that the server gives back cannot add another", async () => {
  const answer = await exchange(server, get("x-request-id: a\t b\r\nx-trace-id: \xff\xfe\r\n", "/health"));
  expect(answer.status).toBe(200);
  expect(answer.headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
  expect(answer.headers["x-trace-id"]).toMatch(/^[0-9a-f]{32}$/);
});

test("pipelined requests are answered in their order, and what follows a refused one is not a request", async () => {
  const many = `GET /health HTTP/1.1\r\n${HEAD}\r\n`.repeat(50);
  const answer = await exchange(server, `${many}${get("", "/v1/health")}`);
  expect(answer.bytes.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(51);
  const before = await stored(server);
  const smuggled = create(`content-length: ${BODY.length}\r\n`, BODY);
  const refused = await exchange(server, `GET / HTTP/1.1\r\nHost localhost\r\n\r\n${smuggled}`);
  expect(refused.bytes.match(/HTTP\/1\.1 /g)).toHaveLength(1);
  expect(refused.status).toBe(400);
  expect(await stored(server)).toBe(before);
});

test("five hundred clients that hang up in the middle harm nobody", async () => {
  const before = await stored(server);
  const halves = [
    "",
    "G",
    "GET / HTTP/1.1\r\n",
    create("content-length: 100\r\n", "{"),
    create("content-length: 9\r\n", "{}"),
  ];
  const sockets = Array.from({ length: 500 }, () => open(server));
  await Promise.all(
    sockets.map(async (socket, n) => {
      const closed = once(socket, "close");
      await once(socket, "connect");
      socket.write(halves[n % halves.length] ?? "", () => socket.resetAndDestroy());
      await closed;
    }),
  );
  expect((await call(server, "GET", "/ready")).status).toBe(200);
  expect(await stored(server)).toBe(before);
});

// Development mode: a server without a key answers this machine, and nobody who reaches it through a browser or a proxy on it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeRequest, exchange } from "../hostile/wire.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

type Headers = Readonly<Record<string, string>>;

/** The status of a request with exactly these headers; `host` too. */
async function ask(headers: Headers, method = "GET", path = "/v1/intents"): Promise<number> {
  const named = Object.entries({ host: "localhost", ...headers });
  const request = encodeRequest({ method, path, headers: named }).toString("latin1");
  return (await exchange(server, request.replace("host: localhost\r\n", ""))).status;
}

describe("a server without a key", () => {
  test.each([
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost:7070",
    "a.localhost",
    "127.0.0.1",
    "127.9.9.9:1",
    "[::1]:7070",
  ])("answers to the name %s", async (host) => expect(await ask({ host })).toBe(200));

  test.each([
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "localhost@evil.example",
    "localhost,evil.example",
    "[::1].evil.example",
    "127.0.0.1:7070:80",
    "0.0.0.0",
    "127.1",
    "2130706433",
    "",
  ])("does not answer to the name %j, which may be rebound to this machine", async (host) => {
    expect(await ask({ host })).toBe(403);
  });

  test.each(["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"])(
    "answers a page of %s",
    async (origin) => expect(await ask({ origin })).toBe(200),
  );

  test.each([
    "null",
    "",
    "file://",
    "https://evil.example",
    "https://localhost.evil.example",
    "http://localhost@evil.example",
    "ws://localhost",
    "chrome-extension://abcdef",
  ])("refuses a page of %j", async (origin) => {
    expect(await ask({ origin })).toBe(403);
  });

  test("refuses whom a proxy on this machine lets in, and answers whom it passes on from here", async () => {
    const passed = [
      { "x-forwarded-for": "203.0.113.9" },
      { "x-forwarded-for": "127.0.0.1, 203.0.113.9" },
      { "x-real-ip": "203.0.113.9" },
      { "x-forwarded-host": "perdure.example" },
      { forwarded: "for=203.0.113.9" },
    ];
    for (const headers of passed) expect(await ask(headers), JSON.stringify(headers)).toBe(403);
    const local = { "x-forwarded-for": "::1, ::ffff:127.0.0.1", "x-forwarded-host": "localhost:3000" };
    expect(await ask(local)).toBe(200);
  });
});

describe("a request that another site started", () => {
  const CROSS = { "sec-fetch-site": "cross-site" };
  const FOLLOWED = { ...CROSS, "sec-fetch-mode": "navigate" };

  test("is refused, unless somebody followed a link to what can be read", async () => {
    expect(await ask({ ...CROSS, "sec-fetch-mode": "no-cors" })).toBe(403);
    expect(await ask(FOLLOWED)).toBe(200);
    expect(await ask(FOLLOWED, "GET", "/openapi.json")).toBe(200);
    expect(await ask(FOLLOWED, "POST", "/v1/sessions/s/cancel")).toBe(403);
  });

  test("takes no agent's work, also not from a frame of its page", async () => {
    const body = { intent_type: "t", to_agent: "victim" };
    const { intent_id } = (await call(server, "POST", "/v1/intents", body)).body;
    const frame = { ...FOLLOWED, "sec-fetch-dest": "iframe" };
    expect(await ask(frame, "GET", "/v1/agents/victim/intents/stream")).toBe(403);
    const { intent } = (await call(server, "GET", `/v1/intents/${intent_id}`)).body;
    expect(intent).toMatchObject({ status: "SUBMITTED", attempt: 0 });
  });
});

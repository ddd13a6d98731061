// Web pages read answers only when their exact origin was allowed.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { call, startTestServer, type TestServer } from "../support/server.ts";

const KEY = "cors-test-key-0123456789";
const PAGE = "https://app.example";
const OTHERS = [
  "https://app.example.evil.example",
  "http://app.example",
  "https://app.example:8443",
  "https://APP.example",
  "https://app.example/",
  "https://evil.example",
  "null",
  "*",
  "",
];

const preflight = (server: TestServer, origin: string, path = "/v1/intents") =>
  fetch(`${server.url}${path}`, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,x-api-key",
    },
  });
const granted = (answer: { headers: Headers }) => answer.headers.get("access-control-allow-origin");

describe("with one allowed origin", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({
      env: { PERDURE_ADMIN_KEY: KEY, PERDURE_CORS_ORIGINS: `https://other.example, ${PAGE}` },
    });
  });
  afterAll(() => server.close());

  test("its page may ask, with a key and without one being asked for it", async () => {
    const answer = await preflight(server, PAGE);
    expect(answer.status).toBe(204);
    expect(granted(answer)).toBe(PAGE);
    expect(answer.headers.get("access-control-allow-methods")).toBe("GET, HEAD, POST, PUT, DELETE");
    const headers = answer.headers.get("access-control-allow-headers")?.split(", ");
    expect(headers).toEqual(
      expect.arrayContaining(["authorization", "content-type", "idempotency-key", "x-api-key"]),
    );
    expect(answer.headers.get("access-control-max-age")).toBe("600");
    expect(answer.headers.get("vary")).toBe("Origin");
  });

  test("its page reads answers, refusals and event streams, without cookies", async () => {
    const headers = { origin: PAGE, "x-api-key": KEY };
    const created = await call(server, "POST", "/v1/intents", { intent_type: "a", to_agent: "b" }, headers);
    const stream = await fetch(`${server.url}/v1/intents/${created.body.intent_id}/events/stream`, {
      headers,
    });
    const answers = [
      created,
      stream,
      await call(server, "GET", "/v1/intents", undefined, { origin: PAGE }),
      await call(server, "POST", "/v1/intents", {}, headers),
      await call(server, "GET", "/v1/nowhere", undefined, headers),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 401, 422, 404]);
    for (const answer of answers) {
      expect(granted(answer)).toBe(PAGE);
      expect(answer.headers.get("vary")).toBe("Origin");
      expect(answer.headers.get("access-control-expose-headers")).toContain("retry-after");
      expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
    }
    await stream.body?.cancel();
  });

  test.each(OTHERS)("a page of %j may not", async (origin) => {
    const asked = await preflight(server, origin);
    expect(asked.status).toBeGreaterThanOrEqual(400);
    expect(granted(asked)).toBeNull();
    const answer = await call(server, "GET", "/v1/intents", undefined, { origin, "x-api-key": KEY });
    expect(granted(answer)).toBeNull();
    expect(answer.headers.get("vary")).toBe("Origin");
  });

  test("whoever is no page is not spoken to about it", async () => {
    expect(granted(await call(server, "GET", "/health"))).toBeNull();
  });
});

describe("a server", () => {
  let server: TestServer;
  afterEach(() => server.close());

  test("allows no page anything by default", async () => {
    server = await startTestServer({ env: { PERDURE_ADMIN_KEY: KEY } });
    const asked = await preflight(server, PAGE);
    expect(asked.status).toBeGreaterThanOrEqual(400);
    expect(granted(asked)).toBeNull();
    const answer = await call(server, "GET", "/v1/intents", undefined, { origin: PAGE, "x-api-key": KEY });
    expect(answer.status).toBe(200);
    expect(granted(answer)).toBeNull();
  });

  test("allows every page with a key, when told so", async () => {
    server = await startTestServer({ env: { PERDURE_ADMIN_KEY: KEY, PERDURE_CORS_ORIGINS: "*" } });
    expect(granted(await preflight(server, PAGE))).toBe("*");
    const answer = await call(server, "GET", "/v1/intents", undefined, { origin: PAGE, "x-api-key": KEY });
    expect(granted(answer)).toBe("*");
    expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
  });

  test("without keys lets only the named pages act, whatever `*` says", async () => {
    server = await startTestServer({ env: { PERDURE_CORS_ORIGINS: `*,${PAGE}` } });
    const body = { intent_type: "a", to_agent: "b" };
    const from = (origin: string) => call(server, "POST", "/v1/intents", body, { origin });
    expect((await from(PAGE)).status).toBe(200);
    expect((await from("https://evil.example")).status).toBe(403);
  });
});

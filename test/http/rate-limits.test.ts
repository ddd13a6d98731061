// How many requests a client may make, what it is told, and that the SDK does what it is told.
import { afterEach, describe, expect, test } from "vitest";
import { PerdureClient } from "../../sdk/src/index.ts";
import { remoteOf } from "../../server/http/clients.ts";
import { TokenBuckets } from "../../server/http/token-buckets.ts";
import { issueKey } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

const KEY = "rate-limit-test-key-01234";
/** How early a timer may fire. */
const TIMER_MS = 20;
const AUTH = { "x-api-key": KEY };

describe("a token bucket", () => {
  test("grants a burst, then as many as its rate brings", () => {
    const buckets = new TokenBuckets({ rate: 2, burst: 4 });
    const granted = (nowMs: number) => buckets.take("a", nowMs).granted;
    expect([0, 0, 0, 0, 0].map(granted)).toEqual([true, true, true, true, false]);
    expect([499, 500, 500, 1_000, 1_000].map(granted)).toEqual([false, true, false, true, false]);
  });

  test("says what is left and when there is more", () => {
    const buckets = new TokenBuckets({ rate: 0.5, burst: 3 });
    expect(buckets.take("a", 0)).toEqual({ granted: true, remaining: 2, fullInSeconds: 2, nextInSeconds: 0 });
    buckets.take("a", 0);
    buckets.take("a", 0);
    expect(buckets.take("a", 0)).toEqual({
      granted: false,
      remaining: 0,
      fullInSeconds: 6,
      nextInSeconds: 2,
    });
    expect(buckets.take("a", 2_000)).toMatchObject({ granted: true, remaining: 0, nextInSeconds: 2 });
  });

  test("is one client's alone, is never fuller than its burst, and is forgotten once it is full", () => {
    const buckets = new TokenBuckets({ rate: 1, burst: 2 });
    for (const name of ["a", "a", "b"]) expect(buckets.take(name, 0).granted).toBe(true);
    expect(buckets.take("a", 0).granted).toBe(false);
    expect(buckets.take("c", 1_000_000)).toMatchObject({ remaining: 1 });
    expect(buckets.size).toBe(1);
  });

  test("of whoever was quiet longest is given up when there are too many", () => {
    const buckets = new TokenBuckets({ rate: 1, burst: 1_000 }, 10);
    for (let n = 0; n < 1_000; n += 1) buckets.take(`client ${n}`, n);
    expect(buckets.size).toBe(10);
  });
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::1", "0:0:0:0::/64"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8::5", "2001:db8:0:0::/64"],
  ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
])("a client from %s counts as %s", (ip, name) => {
  expect(remoteOf({ ip })).toBe(name);
});

describe("a server", () => {
  let server: TestServer;
  afterEach(() => server.close());
  const start = async (env: Record<string, string>): Promise<void> => {
    server = await startTestServer({ env });
  };
  const ask = (headers = {}) => call(server, "GET", "/v1/intents", undefined, headers);

  test("without keys limits nobody unless told so", async () => {
    await start({});
    expect((await ask()).headers.get("ratelimit")).toBeNull();
  });

  test("with keys limits each, generously", async () => {
    await start({ PERDURE_ADMIN_KEY: KEY });
    const { headers } = await ask(AUTH);
    expect(headers.get("ratelimit-policy")).toBe('"default";q=10000;w=2');
    expect(headers.get("ratelimit")).toMatch(/^"default";r=9999;t=1$/);
  });

  test("answers what is too much with 429 and when to come back, stores nothing of it, and stays healthy", async () => {
    await start({ PERDURE_RATE_LIMIT: "1", PERDURE_RATE_BURST: "5" });
    const began = performance.now();
    const body = { intent_type: "a", to_agent: "b" };
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => call(server, "POST", "/v1/intents", body)),
    );
    const seconds = Math.ceil((performance.now() - began) / 1_000);
    const granted = answers.filter((answer) => answer.status === 200);
    const refused = answers.filter((answer) => answer.status === 429);
    expect(granted.length).toBeGreaterThanOrEqual(5);
    expect(granted.length).toBeLessThanOrEqual(5 + seconds);
    expect(refused.length).toBe(30 - granted.length);
    for (const { body, headers } of refused) {
      expect(body).toMatchObject({ code: "rate_limited", retryable: true });
      expect(headers.get("retry-after")).toBe("1");
      expect(headers.get("ratelimit-policy")).toBe('"default";q=5;w=5');
      expect(headers.get("ratelimit")).toBe('"default";r=0;t=5');
    }
    const { rows } = await server.store.pool.query("select count(*)::int as n from intents");
    expect(rows[0].n).toBe(granted.length);
    expect((await call(server, "GET", "/ready")).status).toBe(200);
  });

  test("counts requests that a key has no right to", async () => {
    await start({ PERDURE_ADMIN_KEY: KEY, PERDURE_RATE_LIMIT: "1", PERDURE_RATE_BURST: "3" });
    const { headers } = await issueKey(server, "acme/prod/reader", ["read"], {}, AUTH);
    const create = () => call(server, "POST", "/v1/intents", {}, headers);
    const answers = [await create(), await create(), await create()];
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403]);
    await until("its limit", async () => (await create()).status === 429);
  });

  test("answers guesses at a key with 429 after a while, and whoever has the key goes on beside them", async () => {
    await start({ PERDURE_ADMIN_KEY: KEY });
    const guess = () => ask({ "x-api-key": "a-guess-0123456789" });
    const first = await Promise.all(Array.from({ length: 50 }, guess));
    expect(new Set(first.map((answer) => answer.status))).toEqual(new Set([401]));
    // All at once: one after the other they might be slower than patience grows again.
    const many = Array.from({ length: 200 }, async () => [await guess(), await ask(AUTH)] as const);
    const answers = await Promise.all(many);
    expect(answers.map(([wrong]) => wrong.status)).toContain(429);
    expect(new Set(answers.map(([, right]) => right.status))).toEqual(new Set([200]));
    // No key is a guess, too, and an open route proves nothing.
    expect((await call(server, "GET", "/health")).status).toBe(200);
    await until("no more patience", async () => (await ask()).status === 429);
  });

  test("is obeyed by the SDK: what it refuses for the moment is repeated no sooner, and done once", async () => {
    await start({ PERDURE_RATE_LIMIT: "2", PERDURE_RATE_BURST: "2" });
    const notBefore = new Map<string, number>();
    let refused = 0;
    const watching: typeof fetch = async (input, init) => {
      const key = String(new Headers(init?.headers).get("idempotency-key"));
      expect(performance.now()).toBeGreaterThanOrEqual(notBefore.get(key) ?? 0);
      const response = await fetch(input, init);
      if (response.status === 429) {
        refused += 1;
        notBefore.set(
          key,
          performance.now() + Number(response.headers.get("retry-after")) * 1_000 - TIMER_MS,
        );
      }
      return response;
    };
    const client = new PerdureClient({
      baseUrl: server.url,
      fetch: watching,
      coalesce: false,
      logger: false,
    });
    const input = { intentType: "a", toAgent: "b", payload: {} };
    const ids = await Promise.all(
      Array.from({ length: 6 }, (_, n) => client.sendIntent({ ...input, idempotencyKey: `k${n}` })),
    );
    await client.close();
    expect(refused).toBeGreaterThan(0);
    expect(new Set(ids).size).toBe(6);
    const { rows } = await server.store.pool.query("select count(*)::int as n from intents");
    expect(rows[0].n).toBe(6);
  });
});

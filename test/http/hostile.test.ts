// Hostile input: a clear refusal that names the place, nothing stored, and nobody else notices.
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { claimOne, listen, post, send, step } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: { PERDURE_REQUEST_TIMEOUT_MS: "1000" } });
});
afterAll(() => server.close());

const create = (more: object = {}, query = "") =>
  call(server, "POST", `/v1/intents${query}`, { intent_type: "a", to_agent: "hostile", ...more });
const count = async () => (await server.store.pool.query("select count(*)::int as n from intents")).rows[0].n;

const ID = "00000000-0000-7000-8000-000000000000";
const ENTRY = "/v1/state/session:s/k";
/** A page of a list from a cursor that it never gave out. */
const list = (path: string, name: string, position: unknown) =>
  call(
    server,
    "GET",
    `${path}?cursor=${Buffer.from(JSON.stringify([1, name, position])).toString("base64url")}`,
  );

describe("a value that cannot be is refused by name, and nothing is stored:", () => {
  const bad: [what: string, pointer: string, send: () => ReturnType<typeof call>][] = [
    ["a year before 1970", "/deadline_at", () => create({ deadline_at: "0000-01-01T00:00:00Z" })],
    ["a year after 9999", "/deadline_at", () => create({ deadline_at: "9999-12-31T23:59:59-23:59" })],
    ["a start after 9999", "/deliver_at", () => create({ deliver_at: "9999-12-31T23:59:59-23:59" })],
    ["an owner that is no address", "?owner_agent", () => create({}, "?owner_agent=%00")],
    ["a long owner", "?owner_agent", () => create({}, `?owner_agent=${"a".repeat(1_001)}`)],
    ["an empty status", "?status", () => call(server, "GET", "/v1/intents?status=")],
    ["NUL in metadata", "?metadata.k", () => call(server, "GET", "/v1/intents?metadata.k=%00")],
    [
      "a forged cursor",
      "?cursor",
      () => call(server, "GET", "/v1/intents?cursor=WzEsImludGVudHMiLFsxLCJ4Il1d"),
    ],
    ["NUL in an assignee", "?assignee", () => call(server, "GET", "/v1/me/tasks?assignee=%00")],
    ["NUL in a prefix", "?prefix", () => call(server, "GET", "/v1/state/session:s?prefix=a%00")],
    ["NUL in the name of a parameter", "?a\\u0000", () => call(server, "GET", "/v1/intents?a%00=1")],
    ["a cursor behind the end of time", "?cursor", () => list("/v1/me/tasks", "tasks", [1e300, ID])],
    ["a cursor between two versions", "?cursor", () => list(`${ENTRY}/versions`, "state versions", 1.5)],
    ["a cursor with NUL", "?cursor", () => list("/v1/state/session:s", "state", "\0")],
    [
      "a version that is none",
      "header if-match",
      () => call(server, "PUT", ENTRY, { value: 1 }, { "if-match": "*" }),
    ],
    [
      "NUL in types",
      "?intent_types",
      () => call(server, "GET", "/v1/agents/x/intents/stream?intent_types=%00"),
    ],
    [
      "too many steps in a batch",
      "/intents/1/steps",
      () =>
        call(server, "POST", "/v1/intents/batch", {
          intents: Array.from({ length: 3 }, () => ({
            intent_type: "a",
            to_agent: "b",
            steps: Array(6_000).fill("s"),
          })),
        }),
    ],
    [
      "too many metadata members",
      "/metadata",
      () => create({ metadata: Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`k${n}`, "v"])) }),
    ],
    [
      "a bad address deep in a batch",
      "/intents/1/to_agent",
      () =>
        call(server, "POST", "/v1/intents/batch", {
          intents: [
            { intent_type: "a", to_agent: "b" },
            { intent_type: "a", to_agent: "b c" },
          ],
        }),
    ],
    ["a reply to nowhere", "/reply_to", () => create({ reply_to: "a b//" })],
    ["a sender that is no address", "/from_agent", () => create({ from_agent: "a b" })],
    ["an invisible character in an address", "/to_agent", () => create({ to_agent: "a\u200bb" })],
    [
      "an address longer than its keys may be",
      "/to_agent",
      () => create({ to_agent: `${"字".repeat(200)}/${"字".repeat(200)}` }),
    ],
    [
      "a retention of no time",
      "/retention/max_age_seconds",
      () => create({ retention: { max_age_seconds: -1 } }),
    ],
  ];
  test.each(bad)("%s (%s)", async (_what, pointer, request) => {
    const before = await count();
    const answer = await request();
    expect(answer.status, JSON.stringify(answer.body)).toBe(422);
    expect(answer.body.errors[0].pointer).toBe(pointer);
    expect(answer.headers.get("content-type")).toContain("application/problem+json");
    expect(await count()).toBe(before);
  });

  test("a seq that no log reaches", async () => {
    const id = await send(server, "seqs");
    expect((await call(server, "GET", `/v1/intents/${id}/events?since=2147483648`)).status).toBe(422);
    const stream = await fetch(`${server.url}/v1/intents/${id}/events/stream?since=2147483648`);
    expect(stream.status).toBe(422);
  });

  test("a place that the log does not reach", async () => {
    const id = await send(server, "places");
    const refused = await post(server, id, "restore", { to: 1_000 });
    expect(refused.status).toBe(422);
    expect(refused.body.errors).toEqual([
      { pointer: "/to", detail: expect.stringContaining("there is no entry 1000") },
    ]);
  });

  test("an empty decision, and a compressed body", async () => {
    const id = await send(server, "blank", { steps: ["s"] });
    expect((await call(server, "POST", `/v1/intents/${id}/steps/s/decide`, "   ")).status).toBe(422);
    const zipped = await call(server, "POST", "/v1/intents", { a: 1 }, { "content-encoding": "gzip" });
    expect(zipped).toMatchObject({ status: 415, body: { code: "unsupported_media_type" } });
  });
});

test("refusals before a route is reached are problems, too", async () => {
  const foreign = await call(server, "GET", "/v1/intents", undefined, { origin: "https://evil.example" });
  expect(foreign).toMatchObject({ status: 403, body: { code: "forbidden", status: 403 } });
  expect(foreign.body.request_id).toBeTypeOf("string");
  expect(foreign.headers.get("content-type")).toContain("application/problem+json");
});

test("a flood of unknown fields costs no more than reading it", async () => {
  const body: Record<string, unknown> = { intent_type: "a", to_agent: "flood" };
  for (let n = 0; n < 100_000; n += 1) body[`${n}ead`] = 0;
  const answer = await call(server, "POST", "/v1/intents", body);
  expect(answer.status).toBe(200);
  expect(answer.body.warnings).toHaveLength(21);
  expect(answer.body.warnings.at(-1)).toMatch(/^and 999\d\d more$/);
});

test("HEAD is no agent", async () => {
  expect((await fetch(`${server.url}/v1/agents/head/intents/stream`, { method: "HEAD" })).status).toBe(404);
});

test("a body that never comes is given up on", async () => {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  let heard = "";
  socket.on("data", (chunk) => (heard += chunk.toString()));
  socket.write(
    "POST /v1/intents HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
  );
  await until("the end of patience", () => heard.includes(" 408 "));
  socket.destroy();
});

test("of several processes that take a new name at once, one has it", async () => {
  const listeners = await Promise.all(
    Array.from({ length: 6 }, (_, n) => listen(server, "rush", { consumer: "c", incarnation: `i${n}` })),
  );
  const admitted = listeners.filter((listener) => listener.refusal === undefined);
  for (const listener of listeners) listener.cut();
  expect(admitted).toHaveLength(1);
  expect(listeners.filter((listener) => listener.refusal?.body.code === "consumer_in_use")).toHaveLength(5);
});

describe("large results", () => {
  const big = "x".repeat(900_000);

  test("are bounded in all, page by page, and in frames", async () => {
    const id = await send(server, "large");
    await claimOne(server, "large");
    for (let n = 0; n < 12; n += 1)
      expect((await step(server, id, `s${n}`, { status: "done", attempt: 1, result: big })).status).toBe(200);
    // Events without details lie between and behind the large ones.
    for (const verb of ["pause", "unpause"]) await post(server, id, verb);
    const seqs: number[] = [];
    let pages = 0;
    for (let cursor: string | null = ""; cursor !== null; pages += 1) {
      const query = cursor === "" ? "" : `&cursor=${cursor}`;
      const { body } = await call(server, "GET", `/v1/intents/${id}/events?limit=500${query}`);
      expect(JSON.stringify(body).length).toBeLessThan(6_000_000);
      seqs.push(...body.events.map((event: { seq: number }) => event.seq));
      cursor = body.next_cursor;
    }
    expect(pages).toBeGreaterThan(2);
    expect(seqs).toEqual(seqs.map((_, index) => index + 1));
    await post(server, id, "cancel");
    const stream = await (await fetch(`${server.url}/v1/intents/${id}/events/stream`)).text();
    const frames = stream.split("\n\n").filter((frame) => frame.includes("event: intent."));
    expect(frames).toHaveLength(seqs.length + 1);
    expect(Math.max(...frames.map((frame) => frame.length))).toBeLessThan(33_000);
    expect(frames.filter((frame) => frame.includes('"result_omitted":true'))).toHaveLength(12);
  });

  test("beyond what an intent may record are refused, and its failure is still told", async () => {
    const narrow = await startTestServer({ env: { PERDURE_INTENT_RESULTS_MAX_BYTES: "1000000" } });
    try {
      const id = await send(narrow, "narrow");
      await claimOne(narrow, "narrow");
      expect((await step(narrow, id, "a", { status: "done", attempt: 1, result: big })).status).toBe(200);
      const refused = await step(narrow, id, "b", { status: "done", attempt: 1, result: big });
      expect(refused).toMatchObject({ status: 413, body: { code: "results_too_large" } });
      const error = { code: "x", message: "m", details: big };
      const failed = await step(narrow, id, "b", { status: "failed", attempt: 1, error });
      expect(failed.body.step.error).toEqual({ code: "x", message: "m", retryable: true, final: false });
    } finally {
      await narrow.close();
    }
  });

  test("are refused as inputs too, beyond what an intent may record, and another try's input counts once", async () => {
    const narrow = await startTestServer({ env: { PERDURE_INTENT_RESULTS_MAX_BYTES: "1500000" } });
    try {
      const id = await send(narrow, "inputs");
      await claimOne(narrow, "inputs");
      const begin = (key: string) => step(narrow, id, key, { status: "running", attempt: 1, input: big });
      const fail = (key: string) =>
        step(narrow, id, key, {
          status: "failed",
          attempt: 1,
          retryable: true,
          error: { code: "x", message: "m" },
        });
      for (let tries = 1; tries <= 3; tries += 1) {
        expect((await begin("a")).body.step.tries).toBe(tries);
        expect((await fail("a")).status).toBe(200);
      }
      expect(await begin("b")).toMatchObject({ status: 413, body: { code: "results_too_large" } });
      const { steps } = (await call(narrow, "GET", `/v1/intents/${id}/steps`)).body;
      expect(steps.map((one: { key: string }) => one.key)).toEqual(["a"]);
    } finally {
      await narrow.close();
    }
  });

  test("make short pages of a list", async () => {
    const intents = Array.from({ length: 12 }, () => ({
      intent_type: "big.v1",
      to_agent: "pages",
      payload: { big },
    }));
    await call(server, "POST", "/v1/intents/batch", { intents });
    const ids = new Set<string>();
    let pages = 0;
    for (let cursor = ""; ; pages += 1) {
      const { body } = await call(
        server,
        "GET",
        `/v1/intents?intent_type=big.v1&include=payload&limit=500${cursor}`,
      );
      for (const intent of body.intents) ids.add(intent.intent_id);
      if (body.next_cursor === null) break;
      cursor = `&cursor=${body.next_cursor}`;
    }
    expect(ids.size).toBe(12);
    expect(pages).toBeGreaterThanOrEqual(1);
  });
});

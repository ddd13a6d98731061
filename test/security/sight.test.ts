// Who may do what within one namespace: an agent, a sender, an operator, and somebody who has nothing to do with it.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Headers, issueKey, startKeyedServer } from "../support/keys.ts";
import { type Answer, call, type TestServer } from "../support/server.ts";

let server: TestServer;
let sender: Headers;
let worker: Headers;
let other: Headers;
let operator: Headers;
let elsewhere: Headers;
beforeAll(async () => {
  server = await startKeyedServer();
  const key = async (address: string, scopes: string[]) => (await issueKey(server, address, scopes)).headers;
  sender = await key("acme/prod/web", ["send", "read", "act"]);
  worker = await key("acme/prod/worker", ["act", "read", "send"]);
  other = await key("acme/prod/other", ["act", "read", "send"]);
  operator = await key("acme/prod/ops", ["operate", "read", "send"]);
  elsewhere = await key("beta/prod/ops", ["operate", "read", "send", "act"]);
});
afterAll(() => server.close());

const get = (path: string, who: Headers) => call(server, "GET", path, undefined, who);
const post = (path: string, who: Headers, body: object = {}) => call(server, "POST", path, body, who);
const create = (who: Headers, more: object = {}) =>
  post("/v1/intents", who, { intent_type: "t", to_agent: "worker", payload: { secret: 1 }, ...more });
const codeOf = ({ status, body }: Answer) => (status === 200 ? 200 : `${status} ${body.code}`);

let id: string;
let attempt: number;
let consumers = 0;
/** Sent by the sender and held by the worker. */
beforeEach(async () => {
  id = (await create(sender, { steps: ["one"], session: "s" })).body.intent_id;
  consumers += 1;
  const claim = { consumer: `w${consumers}`, lease_seconds: 600, max: 100 };
  const { deliveries } = (await post("/v1/agents/worker/claim", worker, claim)).body;
  attempt = deliveries.find((one: { intent_id: string }) => one.intent_id === id).attempt;
});

describe("an intent", () => {
  const READS = ["", "/events", "/steps", "/explain", "/checkpoints", "/export", "/events/stream"];

  test("is read by its sender, its agent and operators, and is not there for anybody else", async () => {
    for (const below of READS.filter((one) => !one.endsWith("stream") && one !== "/export"))
      for (const who of [sender, worker, operator])
        expect((await get(`/v1/intents/${id}${below}`, who)).status, below).toBe(200);
    const nothing = "00000000-0000-7000-8000-000000000009";
    for (const below of READS)
      for (const who of [other, elsewhere]) {
        const asked = await get(`/v1/intents/${id}${below}`, who);
        const unknown = await get(`/v1/intents/${nothing}${below}`, who);
        const scrub = ({ status, body }: Answer) =>
          JSON.stringify([status, { ...body, request_id: 0 }])
            .replaceAll(id, "ID")
            .replaceAll(nothing, "ID");
        expect(asked.status, below).toBe(404);
        expect(scrub(asked), below).toBe(scrub(unknown));
      }
  });

  test("that is not seen is told at once, however long one would wait for it", async () => {
    const since = performance.now();
    expect((await get(`/v1/intents/${id}?wait=20`, other)).status).toBe(404);
    expect(performance.now() - since).toBeLessThan(5_000);
  });

  test("is listed for those who see it", async () => {
    const lists = async (who: Headers) =>
      (await get("/v1/intents?limit=500", who)).body.intents.some(
        (one: { intent_id: string }) => one.intent_id === id,
      );
    expect(await Promise.all([sender, worker, operator, other, elsewhere].map(lists))).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });

  test("is acted on by its agent and by operators only, also with the right attempt", async () => {
    const step = (who: Headers) =>
      call(server, "PUT", `/v1/intents/${id}/steps/one`, { status: "running", attempt }, who);
    expect(codeOf(await step(sender))).toBe("403 forbidden");
    expect(codeOf(await step(other))).toBe("404 not_found");
    expect(codeOf(await step(elsewhere))).toBe("404 not_found");
    expect(codeOf(await step(worker))).toBe(200);
    for (const [path, body] of [
      ["release", { attempt }],
      ["heartbeat", { attempt }],
      ["progress", { attempt, percent: 1 }],
      ["start", { attempt }],
      ["resolve", { attempt, status: "COMPLETED", result: 1 }],
      ["resolve", { status: "CANCELED" }],
      ["resume", { task_result: { outcome: "approved" } }],
    ] as const) {
      expect(codeOf(await post(`/v1/intents/${id}/${path}`, sender, body)), path).toBe("403 forbidden");
      expect(codeOf(await post(`/v1/intents/${id}/${path}`, other, body)), path).toBe("404 not_found");
    }
    expect((await get(`/v1/intents/${id}/delivery`, sender)).status).toBe(403);
    expect((await get(`/v1/intents/${id}/delivery`, other)).status).toBe(404);
    expect((await get(`/v1/intents/${id}/delivery`, worker)).status).toBe(200);
    const checkpoint = (who: Headers) =>
      call(server, "PUT", `/v1/intents/${id}/checkpoints/c`, { attempt }, who);
    expect([(await checkpoint(sender)).status, (await checkpoint(other)).status]).toEqual([403, 404]);
    expect((await checkpoint(worker)).status).toBe(200);
  });

  test("is canceled by its sender and by operators, not by its agent", async () => {
    expect(codeOf(await post(`/v1/intents/${id}/cancel`, worker))).toBe("403 forbidden");
    expect(codeOf(await post(`/v1/intents/${id}/cancel`, other))).toBe("404 not_found");
    expect(codeOf(await post(`/v1/intents/${id}/cancel`, sender))).toBe(200);
  });

  test("is paused by operators of its namespace only", async () => {
    expect(codeOf(await post(`/v1/intents/${id}/pause`, sender))).toBe("403 forbidden");
    expect(codeOf(await post(`/v1/intents/${id}/pause`, elsewhere))).toBe("404 not_found");
    expect(codeOf(await post(`/v1/intents/${id}/pause`, operator))).toBe(200);
  });

  test("is signaled, and given children, by those who see it", async () => {
    const signal = (who: Headers) => post(`/v1/intents/${id}/signals/go`, who, { data: 1 });
    expect([(await signal(sender)).status, (await signal(other)).status]).toEqual([200, 404]);
    const child = (who: Headers, more: object = {}) =>
      create(who, { to_agent: "nobody", parent_intent_id: id, ...more });
    expect(codeOf(await child(other))).toBe("404 parent_not_found");
    expect(codeOf(await child(sender, { parent_attempt: attempt }))).toBe("403 forbidden");
    expect(codeOf(await child(worker, { parent_attempt: attempt }))).toBe(200);
  });

  test("that another process says it holds tells it nothing", async () => {
    const claimed = await post("/v1/agents/other/claim", other, { consumer: "o", lease_seconds: 600 });
    await post(`/v1/intents/${id}/cancel`, sender);
    const holding = [{ intent_id: id, attempt }];
    const beat = await post(`/v1/consumers/${claimed.body.consumer_id}/heartbeat`, other, { holding });
    expect(beat.body).toMatchObject({ canceled: [], lost: [{ intent_id: id, reason: "unknown" }] });
    const mine = await post("/v1/agents/worker/claim", worker, { consumer: "w", lease_seconds: 600 });
    expect((await post(`/v1/consumers/${mine.body.consumer_id}/heartbeat`, other)).body.code).toBe(
      "consumer_lost",
    );
  });
});

test("nobody speaks for an address that its key does not cover, nor sends into another namespace", async () => {
  const as = (more: Headers) => create({ ...sender, ...more });
  expect(codeOf(await as({ "x-owner-agent": "agent://acme/prod/worker" }))).toBe("403 forbidden");
  expect(codeOf(await as({ "x-owner-agent": "web" }))).toBe(200);
  expect(codeOf(await create(sender, { from_agent: "worker" }))).toBe("403 forbidden");
  expect(codeOf(await create(sender, { to_agent: "beta/prod/ops" }))).toBe("403 forbidden");
  expect(codeOf(await post("/v1/agents/worker/claim", sender))).toBe("403 forbidden");
  expect((await get("/v1/agents/worker/intents/stream", other)).status).toBe(403);
});

test("patterns widen what a key stands for, and where it may send", async () => {
  const wide = (await issueKey(server, "acme/prod/gate", ["send", "read"], { patterns: ["beta/*"] })).headers;
  const sent = await create(wide, { to_agent: "beta/prod/far" });
  expect(sent.status).toBe(200);
  expect((await get(`/v1/intents/${sent.body.intent_id}`, wide)).status).toBe(200);
  expect((await get(`/v1/intents/${sent.body.intent_id}`, operator)).status).toBe(404);
  expect((await get(`/v1/intents/${sent.body.intent_id}`, elsewhere)).status).toBe(200);
});

describe("state", () => {
  const put = (scope: string, who: Headers, value: unknown = 1, more: object = {}) =>
    call(server, "PUT", `/v1/state/${encodeURIComponent(scope)}/k`, { value, ...more }, who);
  const read = (scope: string, who: Headers) => get(`/v1/state/${encodeURIComponent(scope)}/k`, who);

  test("of an intent is written by its holder and read by those who see it", async () => {
    const scope = `intent:${id}`;
    expect(codeOf(await put(scope, sender, 1, { attempt }))).toBe("403 forbidden");
    expect(codeOf(await put(scope, other, 1, { attempt }))).toBe("404 not_found");
    expect(codeOf(await put(scope, worker, 1, { attempt }))).toBe(200);
    expect(codeOf(await read(scope, sender))).toBe(200);
    expect(codeOf(await read(scope, other))).toBe("404 state_not_found");
    expect((await get(`/v1/state/${scope}`, other)).body.entries).toEqual([]);
  });

  test("of an address is for whoever stands for it, and operators", async () => {
    expect(codeOf(await put("agent:worker", worker))).toBe(200);
    expect(codeOf(await put("agent:worker", operator))).toBe(200);
    expect(codeOf(await put("agent:worker", sender))).toBe("403 forbidden");
    expect(codeOf(await read("agent:worker", sender))).toBe("404 state_not_found");
    expect(codeOf(await put("agent:acme/prod/worker", elsewhere))).toBe("403 forbidden");
    expect(codeOf(await read("agent:acme/prod/worker", elsewhere))).toBe("404 state_not_found");
  });

  test("of a session is for whoever sees the session, which is another one in each namespace", async () => {
    expect(codeOf(await put("session:s", worker, "ours"))).toBe(200);
    expect(codeOf(await put("session:s", other))).toBe("403 forbidden");
    expect(codeOf(await read("session:s", other))).toBe("404 state_not_found");
    expect(codeOf(await read("session:s", elsewhere))).toBe("404 state_not_found");
    expect(codeOf(await put("session:s", elsewhere, "theirs"))).toBe(200);
    expect((await read("session:s", sender)).body.entry.value).toBe("ours");
    expect(codeOf(await put("session:new", other))).toBe(200);
  });

  test("that goes with a step is authorised like a direct write", async () => {
    const step = (scope: string) =>
      call(
        server,
        "PUT",
        `/v1/intents/${id}/steps/one`,
        { status: "done", attempt, state: [{ scope, key: "k", value: 1 }] },
        worker,
      );
    expect(codeOf(await step("agent:other"))).toBe("403 forbidden");
    expect(codeOf(await step("session:s"))).toBe(200);
  });

  test("is listed by scope for those who see it", async () => {
    await put("agent:worker", worker);
    await put(`intent:${id}`, worker, 1, { attempt });
    const scopes = async (who: Headers) =>
      (await get("/v1/state?limit=500", who)).body.scopes.map((one: { scope: string }) => one.scope);
    const all = [`intent:${id}`, "agent:acme/prod/worker", "session:s"];
    expect(await scopes(worker)).toEqual(expect.arrayContaining(all));
    expect(await scopes(operator)).toEqual(expect.arrayContaining(all));
    for (const scope of all) expect(await scopes(other)).not.toContain(scope);
    expect(await scopes(sender)).not.toContain("agent:acme/prod/worker");
  });
});

test("a session is shown, with what of it is seen, to those who see one of its intents", async () => {
  await create(other, { to_agent: "hermit", session: "s" });
  const total = async (who: Headers) => (await get("/v1/sessions/s", who)).body.session?.intents.total;
  expect(await total(operator)).toBe((await total(sender)) + 1);
  expect(await total(other)).toBe(1);
  const names = async (who: Headers) =>
    (await get("/v1/sessions?limit=500", who)).body.sessions.map((one: { name: string }) => one.name);
  await create(sender, { session: "hidden" });
  expect(await names(operator)).toContain("hidden");
  expect(await names(other)).not.toContain("hidden");
  expect(codeOf(await get("/v1/sessions/hidden", other))).toBe("404 session_not_found");
});

test("a person's tasks are listed for those who see the intent", async () => {
  const asked = await create(sender, { to_agent: "worker", human_task: { title: "ok?" } });
  const tasks = async (who: Headers) =>
    (await get("/v1/me/tasks", who)).body.tasks.some(
      (one: { intent_id: string }) => one.intent_id === asked.body.intent_id,
    );
  expect(await Promise.all([sender, worker, operator, other].map(tasks))).toEqual([true, true, true, false]);
});

// The core of what AXP promises, checked as its clients would check it: nine contracts, then inboxes.
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";
import { AxpClient, AxpError } from "./clients/rest.ts";
import { valid } from "./schemas.ts";

let server: TestServer;
let axp: AxpClient;
beforeAll(async () => {
  server = await startTestServer();
  axp = new AxpClient(server.url);
});
afterAll(() => server.close());

const INTENT = {
  intent_type: "notify.message.v1",
  from_agent: "agent://conformance/sender",
  to_agent: "agent://conformance/receiver",
  payload: { text: "hello" },
};
const OWNER = "agent://conformance/reply-target";

test("health says ok, under both names", async () => {
  valid("health", await axp.health());
  valid("health", await axp.request("GET", "/v1/health"));
});

test("a trace id is answered with, and one is made where there is none", async () => {
  const trace = randomUUID();
  const told = await fetch(`${server.url}/health`, { headers: { "X-Trace-Id": trace } });
  expect(told.headers.get("x-trace-id")).toBe(trace);
  expect((await fetch(`${server.url}/health`)).headers.get("x-trace-id")).toMatch(/\S/);
});

test("create answers with an id and a status of the lifecycle", async () => {
  const created = valid("create", await axp.createIntent(INTENT));
  expect(created.status).toBe("SUBMITTED");
});

test("the same key and body is the same intent, also with another correlation id; another body is refused", async () => {
  const call = { idempotencyKey: `cf-${randomUUID()}` };
  const first = await axp.createIntent(INTENT, call);
  const again = await axp.createIntent({ ...INTENT, correlation_id: randomUUID() }, call);
  expect(again.intent_id).toBe(first.intent_id);
  const other = axp.createIntent({ ...INTENT, payload: { text: "other" } }, call);
  await expect(other).rejects.toMatchObject({ status: 409, kind: "validation" });
});

test("get tells of the intent, and mirrors status and result at the top", async () => {
  const id = await axp.sendIntent(INTENT);
  const answer = valid("get", await axp.getIntent(id));
  expect(answer).toMatchObject({ status: "SUBMITTED", result: null });
  expect(answer.intent).toMatchObject({ intent_id: id, payload: { text: "hello" } });
  expect(answer.intent.to_agent).toBe(INTENT.to_agent);
});

test("two events stand in the log right after create, and since leaves out what is known", async () => {
  const id = await axp.sendIntent(INTENT);
  const { events } = valid("events", await axp.listEvents(id));
  // AXME also writes intent.delivered here; with us that says that an agent has it.
  expect(events.map((event: { event_type: string }) => event.event_type)).toEqual([
    "intent.created",
    "intent.submitted",
  ]);
  const later = valid("events", await axp.listEvents(id, 1));
  expect(later.events.map((event: { seq: number }) => event.seq)).toEqual([2]);
});

test("an event stream goes on behind since, with frames of three lines", async () => {
  const id = await axp.sendIntent(INTENT);
  await axp.resolve(id, { status: "COMPLETED", result: { ok: true } });
  const text = await (await fetch(`${server.url}/v1/intents/${id}/events/stream?since=1`)).text();
  expect(text).not.toMatch(/^id: 1$/m);
  expect(text).toMatch(/^id: 2\nevent: intent\.submitted\ndata: \{.*\}\n\n/);
  expect(text).toMatch(/id: 3\nevent: intent\.completed\ndata: \{.*"status":"COMPLETED".*\}\n\n/);
});

test("resolve ends an intent once: the same again is answered the same, another end is refused", async () => {
  const id = await axp.sendIntent(INTENT);
  const body = { status: "COMPLETED", result: { ok: true } };
  const answer = valid("resolve", await axp.resolve(id, body, { idempotencyKey: "r1" }));
  expect(answer).toMatchObject({
    status: "COMPLETED",
    event: { event_type: "intent.completed", status: "COMPLETED", details: { result: { ok: true } } },
    completion_delivery: { delivered: false, reason: "reply_to_not_set" },
  });
  const again = valid("resolve", await axp.resolve(id, body, { idempotencyKey: "r1" }));
  expect(again.event).toEqual(answer.event);
  const other = axp.resolve(id, { status: "CANCELED", reason: "too late" });
  await expect(other).rejects.toMatchObject({ status: 409, message: expect.stringMatching(/COMPLETED/) });
});

test("the end of an intent with reply_to appears in that inbox, as a thread of the intent's id", async () => {
  const id = await axp.sendIntent({ ...INTENT, reply_to: OWNER });
  expect((await axp.listInbox(OWNER)).threads).toEqual([]);
  const { completion_delivery } = await axp.resolve(id, { status: "COMPLETED", result: { sum: 5 } });
  expect(completion_delivery).toEqual({ delivered: true, reply_to: OWNER, thread_id: id });
  const { threads } = valid("inbox", await axp.listInbox(OWNER));
  expect(threads).toHaveLength(1);
  expect(threads[0]).toMatchObject({
    thread_id: id,
    intent_id: id,
    owner_agent: OWNER,
    status: "done",
    intent_status: "COMPLETED",
  });
  expect(threads[0].timeline.at(-1)).toMatchObject({
    event_type: "intent.completed",
    details: { status: "COMPLETED", result: { sum: 5 } },
  });
});

test("one thread is read by its id, by its owner only", async () => {
  const id = await axp.sendIntent({ ...INTENT, reply_to: "agent://conformance/one" });
  await expect(axp.getThread(id, "agent://conformance/one")).rejects.toMatchObject({ status: 404 });
  await axp.resolve(id, { status: "FAILED", error: { code: "broken", message: "it broke" } });
  const { thread } = valid("thread", await axp.getThread(id, "agent://conformance/one"));
  expect(thread.timeline.at(-1).details).toMatchObject({ status: "FAILED", error: { code: "broken" } });
  await expect(axp.getThread(id, "agent://conformance/two")).rejects.toMatchObject({ status: 404 });
});

test("every way to end tells the inbox, also when nobody resolved it", async () => {
  const owner = "agent://conformance/all-ends";
  const canceled = await axp.sendIntent({ ...INTENT, reply_to: owner });
  await axp.request("POST", `/v1/intents/${canceled}/cancel`, { reason: "no longer" });
  const late = await axp.sendIntent({ ...INTENT, reply_to: owner, ttl_seconds: 0.05 });
  await axp.request("GET", `/v1/intents/${late}?wait=10`);
  const { threads } = valid("inbox", await axp.listInbox(owner));
  expect(
    threads.map((one: { thread_id: string; intent_status: string }) => [one.thread_id, one.intent_status]),
  ).toEqual([
    [late, "TIMED_OUT"],
    [canceled, "CANCELED"],
  ]);
});

test("an inbox of many threads comes in pages, without a gap or a repetition", async () => {
  const owner = "agent://conformance/many";
  const ids: string[] = [];
  for (let i = 0; i < 5; i += 1) {
    const id = await axp.sendIntent({ ...INTENT, reply_to: owner });
    await axp.resolve(id, { status: "COMPLETED", result: i });
    ids.push(id);
  }
  const seen: string[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const path: string = `/v1/inbox?owner_agent=${owner}&limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`;
    const page = valid("inbox", await axp.request("GET", path));
    seen.push(...page.threads.map((one: { thread_id: string }) => one.thread_id));
    cursor = page.next_cursor;
  }
  expect(seen).toEqual(ids.reverse());
});

test("what is not built says so, and what to do instead", async () => {
  const asked: [string, string][] = [
    ["GET", "/v1/inbox/changes"],
    ["POST", `/v1/inbox/${randomUUID()}/reply`],
    ["POST", `/v1/inbox/${randomUUID()}/delegate`],
    ["POST", `/v1/inbox/${randomUUID()}/approve`],
    ["POST", `/v1/inbox/${randomUUID()}/messages/delete`],
    ["POST", "/v1/sessions"],
    ["POST", `/v1/approvals/${randomUUID()}/decision`],
    ["GET", "/v1/users/check-nick?nick=@a"],
    ["POST", "/mcp"],
  ];
  for (const [method, path] of asked) {
    const error = await axp.request(method, path, method === "POST" ? { message: "x" } : undefined).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error, path).toBeInstanceOf(AxpError);
    expect((error as AxpError).body, path).toMatchObject({ status: 404, code: "not_supported" });
    valid("problem", (error as AxpError).body);
    expect((error as AxpError).message.length, path).toBeGreaterThan(30);
  }
});

test("an actor token beside the key is no key, and a body-less POST with a JSON content type is fine", async () => {
  const client = new AxpClient(server.url, { actorToken: "a-person's-token" });
  valid("heartbeat", await client.heartbeat());
});

test("errors are understood by whoever reads error, error.message or detail", async () => {
  const error: AxpError = await axp.createIntent({ intent_type: "x" }).catch((thrown: AxpError) => thrown);
  const problem = valid("problem", error.body);
  expect(error).toMatchObject({ status: 422, kind: "validation" });
  expect(problem.detail).toBe(problem.error.message);
  expect(problem.errors[0].pointer).toBe("/to_agent");
});

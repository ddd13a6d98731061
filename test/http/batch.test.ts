// POST /v1/batch: many calls in one request, each with its own answer.
import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

type Op = Record<string, unknown>;
const batch = async (ops: Op[], headers: Record<string, string> = {}, at: TestServer = server) => {
  const answer = await call(at, "POST", "/v1/batch", { ops }, headers);
  expect(answer.status).toBe(200);
  return answer.body.results;
};
const create = (to: string, more: Op = {}): Op => ({
  op: "create",
  ...more,
  body: { intent_type: "job.v1", to_agent: to, payload: { text: "  1.50 " } },
});
const claim = async (to: string, max: number, at: TestServer = server) => {
  const body = { consumer: `one-${to}`, incarnation: "1", max, lease_seconds: 300 };
  return (await call(at, "POST", `/v1/agents/${to}/claim`, body)).body.deliveries;
};

test("creates, starts, steps and ends travel together, and answer as they would alone", async () => {
  const made = await batch([create("b1"), create("b1"), create("b1")]);
  expect(made.map((one: { status: number }) => one.status)).toEqual([200, 200, 200]);
  const deliveries = await claim("b1", 3);
  const ids: string[] = deliveries.map((one: { intent_id: string }) => one.intent_id);
  expect(new Set(ids)).toEqual(
    new Set(made.map((one: { body: { intent_id: string } }) => one.body.intent_id)),
  );
  const started = await batch(ids.map((id) => ({ op: "start", intent_id: id, body: { attempt: 1 } })));
  expect(started[0].body).toMatchObject({ ok: true, status: "IN_PROGRESS", attempt: 1 });
  const [step, progress, end] = await batch([
    { op: "step", intent_id: ids[0], key: "a", body: { attempt: 1, status: "done", result: { n: 1 } } },
    { op: "progress", intent_id: ids[1], body: { attempt: 1, percent: 50 } },
    { op: "resolve", intent_id: ids[2], body: { attempt: 1, status: "COMPLETED", result: [1, "x"] } },
  ]);
  expect(step.body).toMatchObject({ ok: true, step: { key: "a", status: "done", result: { n: 1 } } });
  expect(progress.body.ok).toBe(true);
  expect(end.body.intent).toMatchObject({ status: "COMPLETED", result: [1, "x"] });
});

test("operations on one intent are done in order", async () => {
  const [{ body }] = await batch([create("b2")]);
  await claim("b2", 1);
  const id = body.intent_id;
  const results = await batch([
    { op: "start", intent_id: id, body: { attempt: 1 } },
    { op: "step", intent_id: id.toUpperCase(), key: "a", body: { attempt: 1, status: "running" } },
    {
      op: "step",
      intent_id: id,
      key: "a",
      body: { attempt: 1, status: "done", result: 1, state: [{ key: "k", value: 1 }] },
    },
    { op: "step", intent_id: id, key: "b", body: { attempt: 1, status: "running" } },
    { op: "release", intent_id: id, body: { attempt: 1 } },
  ]);
  expect(results.map((one: { status: number }) => one.status)).toEqual([200, 200, 200, 200, 200]);
  const { events } = (await call(server, "GET", `/v1/intents/${id}/events`)).body;
  const types = events.map((event: { event_type: string }) => event.event_type);
  expect(types.filter((type: string) => /step|released|in_progress/.test(type))).toEqual([
    "intent.in_progress",
    "intent.step_running",
    "intent.step_done",
    "intent.step_running",
    "intent.released",
    "intent.step_interrupted",
  ]);
});

test("a refused operation costs its neighbours nothing, and says why as its call would", async () => {
  const results = await batch([
    create("b3"),
    { op: "start", intent_id: randomUUID(), body: { attempt: 1 } },
    { op: "start", intent_id: "no id", body: { attempt: 1 } },
    { op: "step", intent_id: randomUUID(), key: "a", body: { attempt: 1, status: "wrong" } },
    { op: "create", body: { intent_type: "job.v1" } },
    { op: "drop_everything" },
    { op: "create", body: { intentType: "job.v1", to_agent: "b3", colour: "red" } },
  ]);
  expect(results.map((one: { status: number }) => one.status)).toEqual([200, 404, 422, 422, 422, 422, 200]);
  expect(results[1].body.code).toBe("not_found");
  expect(results[2].body.errors[0].pointer).toBe(":id");
  expect(results[3].body.errors[0].pointer).toBe("/status");
  expect(results[4].body.errors[0].pointer).toBe("/to_agent");
  expect(results[5].body.detail).toContain('"drop_everything" is no operation of a batch; there are');
  expect(results[6].body.warnings.join()).toContain("colour");
});

test("a batch that is none is refused as a whole", async () => {
  for (const body of [
    {},
    { ops: [] },
    { ops: "all" },
    { ops: [1] },
    { ops: new Array(1_001).fill(create("b")) },
  ])
    expect((await call(server, "POST", "/v1/batch", body)).status).toBe(422);
});

test("an idempotency key works as the header does, also across both ways", async () => {
  const key = randomUUID();
  const [first] = await batch([create("b4", { idempotency_key: key })]);
  const [again] = await batch([create("b4", { idempotency_key: key })]);
  expect(again).toMatchObject({ status: 200, replayed: true });
  const alone = await call(server, "POST", "/v1/intents", create("b4").body, { "idempotency-key": key });
  expect([again.body.intent_id, alone.body.intent_id]).toEqual([first.body.intent_id, first.body.intent_id]);
  // Both at once are one too.
  const other = randomUUID();
  const both = await batch([
    create("b4", { idempotency_key: other }),
    create("b4", { idempotency_key: other }),
  ]);
  expect(both[1].body.intent_id).toBe(both[0].body.intent_id);
});

test("payloads come through as they were written", async () => {
  const text = `{"ops":[{"op":"create","body":{"intent_type":"job.v1","to_agent":"b5","payload":{"n":1.50,"big":12345678901234567890}}}]}`;
  const made = await call(server, "POST", "/v1/batch", text);
  const id = made.body.results[0].body.intent_id;
  const raw = await (await fetch(`${server.url}/v1/intents/${id}`)).text();
  expect(raw).toContain(`{"n":1.50,"big":12345678901234567890}`);
});

test("one that another transaction holds up does not keep the others' answers", async () => {
  const impatient = await startTestServer({
    env: { PERDURE_BATCH_PATIENCE_MS: "3000", PERDURE_DB_LOCK_TIMEOUT_MS: "100" },
  });
  const holder = new Client({ connectionString: impatient.databaseUrl });
  await holder.connect();
  try {
    const [held, free] = await batch([create("b6"), create("b6")], {}, impatient);
    await claim("b6", 2, impatient);
    await holder.query("begin");
    await holder.query("select 1 from intents where id = $1 for update", [held.body.intent_id]);
    const starts = [held, free].map(({ body }) => ({
      op: "start",
      intent_id: body.intent_id,
      body: { attempt: 1 },
    }));
    const results = await batch(starts, {}, impatient);
    expect(results[0]).toMatchObject({
      status: 503,
      retry_after: 1,
      body: { code: "undecided", retryable: true },
    });
    expect(results[1]).toMatchObject({ status: 200, body: { status: "IN_PROGRESS" } });
    await holder.query("rollback");
    // It was on its way all the same.
    await until("the start that was held up", async () => {
      const { body } = await call(impatient, "GET", `/v1/intents/${held.body.intent_id}`);
      return body.status === "IN_PROGRESS";
    });
  } finally {
    await holder.end();
    await impatient.close();
  }
});

test("each operation needs what its call needs, and what operators do is in the audit log", async () => {
  const keyed = await startKeyedServer();
  try {
    const sender = await issueKey(keyed, "agent://default/default/sender", ["send"]);
    const operator = await issueKey(keyed, "agent://default/default/op", ["send", "operate", "read"], {
      patterns: ["default/default/*"],
    });
    const ops = [create("w"), { op: "consumer_heartbeat", consumer_id: randomUUID(), body: { holding: [] } }];
    const answer = await call(keyed, "POST", "/v1/batch", { ops }, sender.headers);
    expect(answer.body.results.map((one: { status: number }) => one.status)).toEqual([200, 403]);
    const id = answer.body.results[0].body.intent_id;
    const end = { op: "resolve", intent_id: id, body: { status: "CANCELED", reason: "enough" } };
    const refused = await call(keyed, "POST", "/v1/batch", { ops: [end] }, sender.headers);
    expect(refused.body.results[0].status).toBe(403);
    const done = await call(keyed, "POST", "/v1/batch", { ops: [end, end] }, operator.headers);
    expect(done.body.results.map((one: { status: number }) => one.status)).toEqual([200, 200]);
    const log = await keyed.store.pool.query(
      "select action, target, actor from audit_log where action = 'intent.resolve'",
    );
    expect(log.rows).toEqual([{ action: "intent.resolve", target: id, actor: "agent://default/default/op" }]);
    expect((await fetch(`${keyed.url}/v1/batch`, { method: "POST" })).status).toBe(401);
  } finally {
    await keyed.close();
  }
});

test("whoever prefers little is not told again what it has just sent, alone or in a batch", async () => {
  const little = { prefer: "return=minimal" };
  const steps = ["a", "b"];
  const [{ body }] = await batch([{ op: "create", body: { intent_type: "job.v1", to_agent: "b7", steps } }]);
  await claim("b7", 1);
  const at = `/v1/intents/${body.intent_id}`;
  const started = await call(server, "POST", `${at}/start`, { attempt: 1 }, little);
  expect(started.body.steps.map((one: { key: string }) => one.key)).toEqual(["a"]);
  expect((await call(server, "POST", `${at}/start`, { attempt: 1 })).body.steps).toHaveLength(2);
  const done = { attempt: 1, status: "done", result: { much: 1 }, begin_next: true };
  const op = { op: "step", intent_id: body.intent_id, key: "a", body: done };
  const [first] = await batch([op], little);
  expect(first.body).toMatchObject({
    step: { status: "done" },
    begun: { key: "b" },
    intent_status: "IN_PROGRESS",
  });
  expect(first.body.step).not.toHaveProperty("result");
  // Another result was recorded before: that it is told.
  const [again] = await batch([{ ...op, body: { ...done, result: "other" } }], little);
  expect(again.body.step.result).toEqual({ much: 1 });
  expect((await batch([op]))[0].body.step.result).toEqual({ much: 1 });
});

// Only the current, open attempt may write; repeating an end is safe (DELIVERY D1).
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { claimOne, eventsOf, post, send, step, typesOf, view } from "./listener.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Every write an agent can make, at one attempt. */
async function everyWrite(id: string, attempt: number) {
  return [
    await post(server, id, "start", { attempt }),
    await step(server, id, "one", { status: "running", attempt }),
    await step(server, id, "one", { status: "done", attempt, result: "late" }),
    await step(server, id, "one", { status: "failed", attempt, error: "late" }),
    await post(server, id, "progress", { attempt, message: "late" }),
    await post(server, id, "heartbeat", { attempt }),
    await post(server, id, "release", { attempt }),
    await post(server, id, "resolve", { attempt, status: "COMPLETED", result: "late" }),
  ];
}

test("an older attempt, an ended one and one that never was are refused and change nothing", async () => {
  const id = await send(server, "fence", { steps: ["one", "two"] });
  const first = await claimOne(server, "fence");
  await post(server, id, "release", { attempt: first.attempt });
  for (const refused of await everyWrite(id, 1)) {
    expect(refused.status).toBe(409);
    expect(refused.body).toMatchObject({ code: "stale_attempt" });
    expect(refused.body.error.details).toMatchObject({ current_attempt: 1, open: false });
  }
  const second = await claimOne(server, "fence");
  expect(second.attempt).toBe(2);
  const before = await view(server, id);
  for (const attempt of [1, 3, 0]) {
    for (const refused of await everyWrite(id, attempt)) {
      expect(refused.status).toBe(409);
      expect(refused.body.error).toMatchObject({
        code: "stale_attempt",
        details: { current_attempt: 2, open: true },
      });
    }
  }
  expect(await view(server, id)).toEqual(before);
});

test("sixteen late writes of one stale attempt leave one trace in the log", async () => {
  const id = await send(server, "fence-audit");
  await claimOne(server, "fence-audit");
  await post(server, id, "release", { attempt: 1 });
  await everyWrite(id, 1);
  await everyWrite(id, 1);
  const traces = (await eventsOf(server, id)).filter(
    (event) => event.event_type === "intent.stale_write_refused",
  );
  expect(traces).toHaveLength(1);
  expect(traces[0].details).toMatchObject({ attempt: 1 });
});

test("the same end again is answered with the first; a different end is refused", async () => {
  const id = await send(server, "replay");
  await claimOne(server, "replay");
  const end = { status: "COMPLETED", attempt: 1, result: { n: 1 } };
  const first = await post(server, id, "resolve", end);
  const again = await post(server, id, "resolve", end);
  expect([first.status, again.status]).toEqual([200, 200]);
  expect(again.body.intent).toEqual(first.body.intent);
  const other = await post(server, id, "resolve", { ...end, result: { n: 2 } });
  expect(other.status).toBe(409);
  expect(other.body.code).toBe("already_finished");
  const failed = await post(server, id, "resolve", { status: "FAILED", attempt: 1, error: "no" });
  expect(failed.body.code).toBe("already_finished");
  expect((await view(server, id)).result).toEqual({ n: 1 });
  expect((await typesOf(server, id)).filter((type) => type === "completed")).toHaveLength(1);
});

test("a create repeated with its Idempotency-Key is the same intent; another body is refused", async () => {
  const body = { intent_type: "job.v1", to_agent: "idem", payload: { n: 1 }, correlation_id: "a" };
  const headers = { "idempotency-key": "order-1" };
  const first = await call(server, "POST", "/v1/intents", body, headers);
  const again = await call(server, "POST", "/v1/intents", { ...body, correlation_id: "b" }, headers);
  expect(again.body.intent_id).toBe(first.body.intent_id);
  expect(first.headers.get("idempotent-replayed")).toBeNull();
  expect(again.headers.get("idempotent-replayed")).toBe("true");
  const other = await call(server, "POST", "/v1/intents", { ...body, payload: { n: 2 } }, headers);
  expect(other.status).toBe(409);
  expect(other.body.code).toBe("idempotency_mismatch");
  const list = await call(server, "GET", "/v1/intents?to_agent=idem");
  expect(list.body.intents).toHaveLength(1);
});

test("fifty concurrent creates with one key make one intent", async () => {
  const body = { intent_type: "job.v1", to_agent: "idem-race", payload: {} };
  const answers = await Promise.all(
    Array.from({ length: 50 }, () =>
      call(server, "POST", "/v1/intents", body, { "idempotency-key": "race" }),
    ),
  );
  expect(new Set(answers.map((answer) => answer.body.intent_id)).size).toBe(1);
  expect(answers.filter((answer) => answer.headers.get("idempotent-replayed") === "true")).toHaveLength(49);
});

test("a step's first result wins, whoever repeats it", async () => {
  const id = await send(server, "first-result", { steps: ["one", "two"] });
  await claimOne(server, "first-result");
  await step(server, id, "one", { status: "done", attempt: 1, result: 1 });
  await post(server, id, "release", { attempt: 1 });
  await claimOne(server, "first-result");
  const late = await step(server, id, "one", { status: "done", attempt: 1, result: 99 });
  expect(late.status).toBe(200);
  expect(late.body.step).toMatchObject({ status: "done", result: 1 });
  const begun = await step(server, id, "one", { status: "running", attempt: 2 });
  expect(begun.body.step).toMatchObject({ status: "done", result: 1 });
});

test("a start begins the next step once, also after one that left it alone", async () => {
  const id = await send(server, "starting", { steps: ["a", "b"] });
  const { attempt } = await claimOne(server, "starting");
  for (const begin_next of [false, true, true, false])
    await post(server, id, "start", { attempt, begin_next });
  const types = await typesOf(server, id);
  expect(types.filter((type) => type === "step_running")).toEqual(["step_running"]);
  expect((await view(server, id)).progress.current).toBe("a");
});

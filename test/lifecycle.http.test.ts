import { afterAll, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer } from "./support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

test("an intent created, claimed and worked step by step completes with its last result", async () => {
  const created = await call(server, "POST", "/v1/intents", {
    intent_type: "etl.v1",
    to_agent: "etl",
    payload: { file: "a.csv" },
    steps: ["extract", "load"],
  });
  expect(created.status).toBe(200);
  const id = created.body.intent_id;
  const claimed = await call(server, "POST", "/v1/agents/etl/claim", { consumer: "one" });
  expect(claimed.body.deliveries[0]).toMatchObject({
    intent_id: id,
    attempt: 1,
    next_step: { key: "extract", index: 0, total: 2 },
  });
  const first = await call(server, "PUT", `/v1/intents/${id}/steps/extract`, {
    status: "done",
    attempt: 1,
    result: { rows: 3 },
    begin_next: true,
  });
  expect(first.body).toMatchObject({
    next_step: { key: "load" },
    begun: { key: "load", status: "running" },
    intent_status: "IN_PROGRESS",
  });
  const last = await call(server, "PUT", `/v1/intents/${id}/steps/load`, {
    status: "done",
    attempt: 1,
    result: { loaded: 3 },
  });
  expect(last.body.intent_status).toBe("COMPLETED");
  const intent = await call(server, "GET", `/v1/intents/${id}`);
  expect(intent.body).toMatchObject({ status: "COMPLETED", result: { loaded: 3 } });
  const events = await call(server, "GET", `/v1/intents/${id}/events`);
  expect(events.body.events.map((event: { seq: number }) => event.seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

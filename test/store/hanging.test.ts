// A database that takes what is sent and answers nothing is an error within a bounded time, for reads, writes and unknown outcomes.
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { newId } from "../../server/domain/ids.ts";
import { wasCommitted } from "../../server/store/commit.ts";
import { send, view } from "../delivery/listener.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { openWire, type Wire } from "./wire.ts";

const HANGING = { PERDURE_NOTIFY: "off", PERDURE_DB_LOCK_TIMEOUT_MS: "100" };
let database: TestDatabase;
let wire: Wire;
let server: TestServer;
beforeAll(async () => {
  database = await createTestDatabase();
  wire = await openWire(database.url);
  server = await startTestServer({
    databaseUrl: wire.url,
    env: { ...HANGING, PERDURE_DB_QUERY_TIMEOUT_MS: "300" },
  });
});
afterEach(() => wire.goOn());
afterAll(async () => {
  await server.close();
  await wire.close();
  await database.drop();
});

test("a read is answered 503, and later ones work", async () => {
  const id = await send(server, "hanging");
  wire.stop();
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => call(server, "GET", `/v1/intents/${id}`)),
  );
  expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([503]));
  expect(answers[0]?.body).toMatchObject({ code: "unavailable", retryable: true });
  wire.goOn();
  expect((await view(server, id)).intent_id).toBe(id);
});

test("a write is answered 503, and later ones work", async () => {
  wire.stop();
  const answer = await call(server, "POST", "/v1/intents", {
    intent_type: "j.v1",
    to_agent: "hanging",
    payload: {},
  });
  expect(answer).toMatchObject({ status: 503, body: { code: "unavailable" } });
  wire.goOn();
  expect(await send(server, "hanging")).toBeTypeOf("string");
});

test("an outcome that cannot be looked up is unknown after a bounded time, however long a query may take", async () => {
  const patient = await startTestServer({
    databaseUrl: wire.url,
    env: { ...HANGING, PERDURE_DB_QUERY_TIMEOUT_MS: "60000" },
  });
  try {
    const id = newId();
    const event = {
      intentId: id,
      namespace: "n",
      seq: 1,
      type: "intent.created",
      status: "CREATED",
      waitingReason: null,
      attempt: null,
      actor: "a",
      at: 0,
      details: null,
    } as const;
    wire.stop();
    const failure = await wasCommitted(patient.store, { xid: "1", event, wrote: true }, 200).catch(
      (error) => error,
    );
    expect(failure).toMatchObject({ code: "unavailable", details: { outcome: "unknown" } });
  } finally {
    wire.goOn();
    await patient.close();
  }
});

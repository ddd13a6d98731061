// Sessions: a label on intents, and what is said of it goes for all of them.
import { afterAll, beforeAll, expect, test } from "vitest";
import { claimOne, inStatus, post, send, step, view } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server.close();
});

const session = (name: string, verb?: string, body: Record<string, unknown> = {}) =>
  verb === undefined
    ? call(server, "GET", `/v1/sessions/${name}`)
    : call(server, "POST", `/v1/sessions/${name}/${verb}`, body);
const nothingFor = async (address: string) =>
  expect(
    (await call(server, "POST", `/v1/agents/${address}/claim`, { wait_seconds: 0 })).body.deliveries,
  ).toEqual([]);

test("a session is there with its first intent, and counts its intents by status", async () => {
  expect((await session("chat")).body.code).toBe("session_not_found");
  const first = await send(server, "count", { session: "chat" });
  await send(server, "count", { session: "chat" });
  await post(server, first, "cancel");
  expect((await session("chat")).body.session).toMatchObject({
    name: "chat",
    paused: false,
    intents: { total: 2, SUBMITTED: 1, CANCELED: 1 },
  });
  const { sessions } = (await call(server, "GET", "/v1/sessions?limit=1")).body;
  expect(sessions).toHaveLength(1);
});

test("a paused session delivers nothing of its own, also what is sent later, until it is unpaused", async () => {
  const before = await send(server, "held", { session: "pausing" });
  expect((await session("pausing", "pause", { reason: "night" })).body).toMatchObject({
    changed: 1,
    session: { paused: true },
  });
  const after = await send(server, "held", { session: "pausing" });
  await nothingFor("held");
  expect(await view(server, after)).toMatchObject({ paused: true, paused_by: ["session"] });
  expect((await session("pausing", "pause")).body.changed).toBe(0);
  expect((await session("pausing", "unpause")).body).toMatchObject({
    changed: 2,
    session: { paused: false },
  });
  expect((await claimOne(server, "held")).intent_id).toBe(before);
  expect((await claimOne(server, "held", { consumer: "b" })).intent_id).toBe(after);
});

test("an intent that is reopened is as paused as its session, whatever that was when it ended", async () => {
  for (const [verb, body] of [
    ["retry", {}],
    ["restore", { to: 0 }],
  ] as const) {
    const name = `reopened-${verb}`;
    const early = await send(server, name, { session: name });
    await post(server, early, "cancel");
    await session(name, "pause");
    const late = await send(server, name, { session: name });
    await post(server, late, "cancel");
    await post(server, early, verb, body);
    expect(await view(server, early)).toMatchObject({ paused: true, paused_by: ["session"] });
    await nothingFor(name);
    await session(name, "unpause");
    await post(server, late, verb, body);
    expect(await view(server, late)).toMatchObject({ paused: false });
    expect((await claimOne(server, name)).intent_id).toBe(early);
    expect((await claimOne(server, name, { consumer: "b" })).intent_id).toBe(late);
  }
  const many = await send(server, "reopened-many", { session: "reopened-many" });
  await post(server, many, "cancel");
  await session("reopened-many", "pause");
  const filter = { session: "reopened-many", status: "CANCELED" };
  await call(server, "POST", "/v1/intents/bulk", { action: "retry", filter, dry_run: false });
  expect(await view(server, many)).toMatchObject({ status: "SUBMITTED", paused_by: ["session"] });
});

test("an intent stays paused while its operator or its session says so", async () => {
  const id = await send(server, "both", { session: "either" });
  await post(server, id, "pause");
  await session("either", "pause");
  await session("either", "unpause");
  expect(await view(server, id)).toMatchObject({ paused: true, paused_by: ["intent"] });
  await session("either", "pause");
  await post(server, id, "unpause");
  await nothingFor("both");
  await session("either", "unpause");
  expect((await claimOne(server, "both")).intent_id).toBe(id);
});

test("a running intent of a paused session records its step and goes back", async () => {
  const id = await send(server, "running", { session: "boundary", steps: ["a", "b"] });
  const { attempt } = await claimOne(server, "running");
  await post(server, id, "start", { attempt });
  await session("boundary", "pause");
  const recorded = await step(server, id, "a", { status: "done", attempt, result: 1 });
  expect(recorded.body.pause).toBe(true);
  expect((await view(server, id)).progress).toMatchObject({ done: 1, total: 2 });
  await nothingFor("running");
  await session("boundary", "unpause");
  expect(await claimOne(server, "running")).toMatchObject({ attempt: attempt + 1, lost_deliveries: 0 });
});

test("a session is canceled as a whole, and deleted with its state once nothing of it lives", async () => {
  const ids = [
    await send(server, "gone", { session: "ending" }),
    await send(server, "gone", { session: "ending" }),
  ];
  await call(server, "PUT", "/v1/state/session:ending/topic", { value: "x" });
  expect((await call(server, "DELETE", "/v1/sessions/ending")).body.code).toBe("session_active");
  expect((await session("ending", "cancel")).body.changed).toBe(2);
  for (const id of ids) await inStatus(server, id, "CANCELED");
  expect((await call(server, "DELETE", "/v1/sessions/ending")).body).toMatchObject({ deleted: 2 });
  expect((await session("ending")).status).toBe(404);
  expect((await call(server, "GET", `/v1/intents/${ids[0]}`)).status).toBe(404);
  expect((await call(server, "GET", "/v1/state/session:ending/topic")).status).toBe(404);
  for (const table of ["events", "steps", "intent_data", "outcomes"]) {
    const column = table === "intent_data" ? "id" : "intent_id";
    const { rows } = await server.store.pool.query(
      `select 1 from ${table} where ${column} = any($1::uuid[])`,
      [ids],
    );
    expect(rows, table).toEqual([]);
  }
});

test("sessions in which nothing has happened for long are deleted as a group", async () => {
  const old = await send(server, "idle", { session: "idle-old" });
  await post(server, old, "cancel");
  await send(server, "idle", { session: "idle-live" });
  await server.store.pool.query(
    "update sessions set created_at = created_at - interval '2 hours' where name like 'idle-%'",
  );
  await server.store.pool.query(
    "update intents set updated_at = updated_at - interval '2 hours' where to_agent like '%/idle'",
  );
  const answer = await call(server, "DELETE", "/v1/sessions?older_than_seconds=3600");
  expect(answer.body).toMatchObject({ sessions: ["idle-old"], deleted: 1 });
});

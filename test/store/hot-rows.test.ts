// Intents that a server keeps in memory: whoever else changes one is noticed by its row.
import { afterAll, beforeAll, expect, test } from "vitest";
import { claimOne, send } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let one: TestServer;
let other: TestServer;
let without: TestServer;
beforeAll(async () => {
  one = await startTestServer();
  other = await startTestServer({ databaseUrl: one.databaseUrl });
  without = await startTestServer({ databaseUrl: one.databaseUrl, env: { PERDURE_HOT_ROWS_MAX: "0" } });
});
afterAll(async () => {
  await without.close();
  await other.close();
  await one.close();
});

const done = (server: TestServer, id: string, key: string, result: unknown) =>
  call(server, "PUT", `/v1/intents/${id}/steps/${key}`, {
    attempt: 1,
    status: "done",
    result,
    begin_next: true,
  });

test("an intent that servers change in turns is right at each of them", async () => {
  const keys = Array.from({ length: 12 }, (_, index) => `s${index}`);
  const id = await send(one, "turns", { steps: keys });
  await claimOne(other, "turns");
  const servers = [one, other, one, without, one, other];
  expect((await call(one, "POST", `/v1/intents/${id}/start`, { attempt: 1 })).status).toBe(200);
  for (const [index, key] of keys.entries()) {
    const server = servers[index % servers.length] as TestServer;
    const answer = await done(server, id, key, { index });
    expect(answer.body).toMatchObject({ ok: true, step: { key, status: "done", result: { index } } });
    expect(answer.body.next_step?.key).toBe(keys[index + 1]);
  }
  const { body } = await call(without, "GET", `/v1/intents/${id}`);
  expect(body.intent).toMatchObject({ status: "COMPLETED", result: { index: 11 } });
  const { events } = (await call(without, "GET", `/v1/intents/${id}/events`)).body;
  expect(events.map((event: { seq: number }) => event.seq)).toEqual(
    events.map((_: unknown, index: number) => index + 1),
  );
});

test("what was refused at another server is refused here", async () => {
  const id = await send(one, "refused");
  await claimOne(one, "refused");
  expect((await call(one, "POST", `/v1/intents/${id}/start`, { attempt: 1 })).status).toBe(200);
  expect((await call(other, "POST", `/v1/intents/${id}/release`, { attempt: 1 })).status).toBe(200);
  const late = await done(one, id, "a", 1);
  expect(late).toMatchObject({ status: 409, body: { code: "stale_attempt" } });
  expect((await call(other, "POST", `/v1/intents/${id}/cancel`, {})).status).toBe(200);
  const later = await call(one, "POST", `/v1/intents/${id}/progress`, { attempt: 1, percent: 1 });
  expect(later.status).toBe(409);
});

test("a result that was recorded is told again though it is not kept, and the whole log holds", async () => {
  const id = await send(one, "again", { steps: ["a", "b"] });
  await claimOne(one, "again");
  await call(one, "POST", `/v1/intents/${id}/start`, { attempt: 1 });
  await done(one, id, "a", { first: true });
  expect((await done(one, id, "a", { second: true })).body.step.result).toEqual({ first: true });
  await done(one, id, "b", null);
  const { steps } = (await call(one, "GET", `/v1/intents/${id}/steps`)).body;
  expect(steps[0]).toMatchObject({ key: "a", result: { first: true } });
});

test("what is changed behind the servers' backs is noticed", async () => {
  const id = await send(one, "behind");
  await claimOne(one, "behind");
  await one.store.pool.query("update intents set attempt = 7 where id = $1", [id]);
  const { body } = await call(one, "POST", `/v1/intents/${id}/start`, { attempt: 1 });
  expect(body).toMatchObject({ code: "stale_attempt", error: { details: { current_attempt: 7 } } });
});

test("a broken connection makes a server forget: what it wrote last may not have lasted", async () => {
  const id = await send(one, "broken");
  await claimOne(one, "broken");
  expect(one.store.hotRows.find(id, [])).toBeDefined();
  await other.store.pool.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
  expect((await call(one, "POST", `/v1/intents/${id}/start`, { attempt: 1 })).status).toBe(200);
  expect(one.store.hotRows.find(id, [])).toBeUndefined();
});

test("no more are kept than there may be, and none that has ended", async () => {
  const few = await startTestServer({ databaseUrl: one.databaseUrl, env: { PERDURE_HOT_ROWS_MAX: "2" } });
  try {
    const ids = [await send(few, "few"), await send(few, "few"), await send(few, "few")];
    expect(ids.map((id) => few.store.hotRows.find(id, []) !== undefined)).toEqual([false, true, true]);
    await call(few, "POST", `/v1/intents/${ids[2]}/cancel`, {});
    expect(few.store.hotRows.find(ids[2] as string, [])).toBeUndefined();
  } finally {
    await few.close();
  }
});

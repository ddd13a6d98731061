// Ended intents go when their time is over; versions of state beyond how many are kept go at once; what is pinned stays.
import { afterAll, beforeAll, expect, test } from "vitest";
import { expireIntents } from "../../server/engine/retention.ts";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { claimOne, post, send, step, view } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server.close();
});

const DAY_MS = 86_400_000;
const expire = () => expireIntents(server.engine, 30 * DAY_MS, 100);
const age = (id: string, days: number) =>
  server.store.pool.query(
    "update outcomes set finished_at = finished_at - $2 * interval '1 day', expires_at = expires_at - $2 * interval '1 day' where intent_id = $1",
    [id, days],
  );
const exists = async (id: string) => (await call(server, "GET", `/v1/intents/${id}`)).status === 200;

async function ended(address: string, more: Record<string, unknown> = {}): Promise<string> {
  const id = await send(server, address, more);
  await call(server, "PUT", `/v1/state/intent:${id}/k`, { value: 1 });
  await post(server, id, "cancel");
  return id;
}

test("an ended intent goes after the default time, or after its own, and a live one never", async () => {
  const [old, young, short, long, live] = [
    await ended("r"),
    await ended("r"),
    await ended("r", { retention: { max_age_seconds: 3600 } }),
    await ended("r", { retention: { max_age_seconds: 90 * 86_400 } }),
    await send(server, "r"),
  ];
  await age(old, 31);
  await age(young, 29);
  await age(short, 1);
  await age(long, 31);
  expect(await expire()).toBe(2);
  expect(await expire()).toBe(0);
  expect(await Promise.all([old, young, short, long, live].map(exists))).toEqual([
    false,
    true,
    false,
    true,
    true,
  ]);
  for (const table of ["events", "steps", "outcomes", "state_versions"]) {
    const { rows } = await server.store.pool.query(
      `select 1 from ${table} where intent_id = any($1::uuid[])`,
      [[old, short]],
    );
    expect(rows, table).toEqual([]);
  }
  expect((await verifyDatabase(server.databaseUrl)).violations).toEqual([]);
});

test("an intent that was reopened meanwhile stays", async () => {
  const id = await ended("reopened");
  await age(id, 31);
  await post(server, id, "retry");
  await expire();
  expect((await view(server, id)).status).toBe("SUBMITTED");
});

test("the end of a child is kept while its parent lives and may ask for it", async () => {
  const parent = await send(server, "parent");
  const { attempt } = await claimOne(server, "parent");
  const child = await ended("child", { parent_intent_id: parent, parent_attempt: attempt });
  await age(child, 31);
  expect(await expire()).toBe(0);
  const waited = await step(server, parent, "w", { status: "waiting", attempt, wait: { intents: [child] } });
  expect(waited.body.step.result).toMatchObject([{ status: "CANCELED" }]);
  await post(server, parent, "cancel");
  expect(await expire()).toBe(1);
});

test("of state as many versions are kept as its intent says, and what a checkpoint names", async () => {
  const id = await send(server, "versions", { retention: { keep: 2 } });
  const { attempt } = await claimOne(server, "versions");
  const put = (value: number) => call(server, "PUT", `/v1/state/intent:${id}/k`, { value, attempt });
  for (const n of [1, 2, 3]) await put(n);
  await call(server, "PUT", `/v1/intents/${id}/checkpoints/three`, { attempt });
  const seq = (await view(server, id)).seq;
  for (const n of [4, 5, 6, 7]) await put(n);
  const { versions } = (await call(server, "GET", `/v1/state/intent:${id}/k/versions`)).body;
  expect(versions.map((one: { version: number }) => one.version)).toEqual([7, 6, 3]);
  expect((await call(server, "GET", `/v1/state/intent:${id}/k`)).body.entry).toMatchObject({
    version: 7,
    value: 7,
  });
  expect((await call(server, "GET", `/v1/state/intent:${id}/k?seq=${seq}`)).body.entry.value).toBe(3);
  await post(server, id, "restore", { to: "three" });
  expect((await call(server, "GET", `/v1/state/intent:${id}/k`)).body.entry).toMatchObject({
    version: 8,
    value: 3,
  });
  // Also where no version is left the log knows.
  await post(server, id, "restore", { to: seq - 2 });
  expect((await call(server, "GET", `/v1/state/intent:${id}/k`)).body.entry.value).toBe(2);
  expect((await verifyDatabase(server.databaseUrl)).violations).toEqual([]);
});

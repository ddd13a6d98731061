// Two replicas: what one commits is told through the other, at once, by hints alone (I7, D10). No poll comes to help here.
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { type Listener, listen, post, send } from "./listener.ts";

const NO_POLL = {
  PERDURE_POLL_INTERVAL_MS: "600000",
  PERDURE_HEARTBEAT_INTERVAL_MS: "10000",
  PERDURE_LEASE_TTL_MS: "30000",
};

let near: TestServer;
let far: TestServer;
const open: Listener[] = [];
beforeAll(async () => {
  near = await startTestServer({ env: NO_POLL });
  far = await startTestServer({ env: NO_POLL, databaseUrl: near.databaseUrl });
  // Each has to have seen the other before it speaks, and to listen before it is spoken to.
  await Promise.all([near.sweepers.pulse.tick(), far.sweepers.pulse.tick()]);
  await until("both listen", async () => {
    const { rows } = await near.store.pool.query(
      `select 1 from pg_stat_activity where datname = current_database() and application_name = 'perdure-listen'
        and state = 'idle' and query like 'listen %'`,
    );
    return rows.length === 2;
  });
});
afterEach(() => {
  for (const listener of open.splice(0)) listener.cut();
});
afterAll(async () => {
  await far.close();
  await near.close();
});

/** Its stream is open at the far replica. */
async function farAgent(address: string): Promise<Listener> {
  const listener = await listen(far, address, { consumer: "a", incarnation: "i" });
  open.push(listener);
  return listener;
}

test("a place freed through one replica is filled through the other", async () => {
  const listener = await farAgent("freed");
  const first = await send(near, "freed");
  await listener.next("intent.delivered");
  const second = await send(near, "freed");
  await post(near, first, "resolve", { status: "COMPLETED", attempt: 1 });
  expect((await listener.next("intent.delivered", 2)).data.intent_id).toBe(second);
});

test("a cancel committed at one replica is told through the other's stream", async () => {
  const listener = await farAgent("canceled");
  const id = await send(near, "canceled");
  await listener.next("intent.delivered");
  await post(near, id, "cancel", { reason: "ü".repeat(500) });
  expect((await listener.next("intent.canceled")).data).toEqual({
    intent_id: id,
    attempt: 1,
    status: "CANCELED",
    reason: "ü".repeat(200),
  });
});

test("a pause committed at one replica is told through the other's stream", async () => {
  const listener = await farAgent("paused");
  const id = await send(near, "paused");
  await listener.next("intent.delivered");
  await post(near, id, "pause");
  expect((await listener.next("intent.paused")).data).toEqual({ intent_id: id, attempt: 1 });
});

test("a loss found by one replica is told through the other's stream", async () => {
  const listener = await farAgent("lost");
  const id = await send(near, "lost");
  await listener.next("intent.delivered");
  await near.store.pool.query("update consumers set lease_until = perdure_now() where id = $1", [
    listener.consumerId,
  ]);
  await near.sweepers.leases.tick();
  expect((await listener.next("intent.lost")).data).toMatchObject({ intent_id: id, attempt: 1 });
});

test("many ends at once are all told, in as many notifications as it takes", async () => {
  const listener = await listen(far, "many", { consumer: "a", incarnation: "i", capacity: 100 });
  open.push(listener);
  const intents = Array.from({ length: 100 }, () => ({
    intent_type: "job.v1",
    to_agent: "many",
    payload: {},
  }));
  const created = await call(near, "POST", "/v1/intents/batch", { intents });
  const ids: string[] = created.body.intents.map((intent: { intent_id: string }) => intent.intent_id);
  await listener.next("intent.delivered", 100);
  await Promise.all(ids.map((id) => post(near, id, "cancel", { reason: "r".repeat(150) })));
  await listener.next("intent.canceled", 100);
});

test("a replica that stops as soon as it has started leaves no connection behind", async () => {
  const connections = async () => {
    const { rows } = await near.store.pool.query(
      "select 1 from pg_stat_activity where datname = current_database() and application_name = 'perdure-listen'",
    );
    return rows.length;
  };
  const before = await connections();
  for (let round = 0; round < 5; round += 1) {
    const brief = await startTestServer({ env: NO_POLL, databaseUrl: near.databaseUrl });
    await brief.close();
  }
  await until("all others have gone", async () => (await connections()) === before);
});

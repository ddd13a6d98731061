// Heads of the queue that somebody else holds, or that nobody may take, hide nothing behind them (I7). No poll helps here.
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { claimOne, type Listener, listen, send } from "./listener.ts";

let server: TestServer;
let other: pg.Client;
const open: Listener[] = [];
beforeAll(async () => {
  server = await startTestServer({
    env: {
      PERDURE_POLL_INTERVAL_MS: "600000",
      PERDURE_HEARTBEAT_INTERVAL_MS: "10000",
      PERDURE_LEASE_TTL_MS: "30000",
    },
  });
  other = new pg.Client({ connectionString: server.databaseUrl });
  await other.connect();
});
afterEach(async () => {
  await other.query("rollback");
  for (const listener of open.splice(0)) listener.cut();
});
afterAll(async () => {
  await other.end();
  await server.close();
});

async function agent(...args: Parameters<typeof listen>): Promise<Listener> {
  const listener = await listen(...args);
  open.push(listener);
  return listener;
}

/** As a claim of another replica does, for a moment. */
async function hold(id: string): Promise<void> {
  await other.query("begin");
  await other.query("select 1 from intents where id = $1 for update", [id]);
}

const overdue = (id: string) =>
  server.store.pool.query(
    "update intents set deadline_at = perdure_now() - interval '1 second' where id = $1",
    [id],
  );

test("an agent gets the next intent while somebody else holds the head", async () => {
  const head = await send(server, "next");
  const next = await send(server, "next");
  await hold(head);
  const listener = await agent(server, "next");
  expect((await listener.next("intent.delivered")).data.intent_id).toBe(next);
});

test("heads that somebody else let go without taking them are delivered soon after", async () => {
  const head = await send(server, "let-go");
  const probe = await send(server, "probe");
  await hold(head);
  const listener = await agent(server, "let-go");
  // The dispatcher does one round after the other: this one came after the look in vain.
  const prober = await agent(server, "probe");
  expect((await prober.next("intent.delivered")).data.intent_id).toBe(probe);
  expect(listener.deliveries()).toEqual([]);
  await other.query("rollback");
  expect((await listener.next("intent.delivered")).data.intent_id).toBe(head);
});

test("a claim that waits gets a head that somebody else let go", async () => {
  const head = await send(server, "long-poll");
  await hold(head);
  const claiming = claimOne(server, "long-poll", { wait_seconds: 50, lease_seconds: 300 });
  for (let i = 0; i < 3; i += 1) {
    const probe = await call(server, "POST", "/v1/agents/long-poll/claim", {
      consumer: `p${i}`,
      wait_seconds: 0,
    });
    expect(probe.body.deliveries).toEqual([]);
  }
  await other.query("rollback");
  expect((await claiming).intent_id).toBe(head);
});

test("an intent past its deadline that the sweeper has not reached blocks nobody", async () => {
  const late = await send(server, "overdue");
  const next = await send(server, "overdue");
  await overdue(late);
  const listener = await agent(server, "overdue");
  expect((await listener.next("intent.delivered")).data.intent_id).toBe(next);
});

// A new intent is leased in the commit that creates it when a consumer here is free, and only then (I7, I15, D11).
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { claimOne, eventsOf, type Listener, listen, post, send, view } from "./listener.ts";

let server: TestServer;
const open: Listener[] = [];
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  for (const listener of open) listener.cut();
  await server.close();
});

async function agent(...args: Parameters<typeof listen>): Promise<Listener> {
  const listener = await listen(...args);
  open.push(listener);
  return listener;
}

/** Resolves when a stream that has just opened is known to be free, and nobody looks for work for it any more. */
async function quiet(address: string): Promise<void> {
  await until("the stream takes work", () => server.streams.at(`local/dev/${address}`).length > 0);
  await until("nobody holds its consumer", async () => {
    const { rows } = await server.store.pool.query<{ free: boolean }>(
      `select count(*) = 0 as free from pg_locks l join pg_class c on c.oid = l.relation
        where c.relname = 'consumers' and l.mode = 'RowShareLock'`,
    );
    return rows[0]?.free;
  });
}

test("a free agent has a new intent with the commit that creates it, and its frame says all of it", async () => {
  const listener = await agent(server, "free", { consumer: "w", ack: "explicit", capacity: 50 });
  await quiet("free");
  // A look for work that happens to be under way has the better right; then it is the next one.
  const id = await until("an intent handed over with its commit", async () => {
    const sent = await send(server, "free", {
      payload: { n: 12345678901234567890n.toString() },
      steps: ["a", { key: "b", timeout_seconds: 9 }],
      metadata: { team: "x" },
      session: "s",
    });
    const events = await eventsOf(server, sent);
    const types = events.map((event) => event.event_type).join();
    const atOnce = new Set(events.map((event) => event.at)).size === 1;
    return atOnce && types === "intent.created,intent.submitted,intent.delivered" ? sent : undefined;
  });
  const frame = await until("its frame", () =>
    listener
      .deliveries()
      .map((one) => one.data)
      .find((one) => one.intent_id === id),
  );
  const fetched = await call(server, "GET", `/v1/intents/${id}/delivery?attempt=1`);
  expect(frame).toEqual(fetched.body.delivery);
  expect(frame.next_step.key).toBe("a");
});

test("ten intents sent at once to an agent of capacity 3 leave seven in the queue", async () => {
  const listener = await agent(server, "burst", { capacity: 3 });
  const ids = await Promise.all(Array.from({ length: 10 }, () => send(server, "burst")));
  await listener.next("intent.delivered", 3);
  const held = await Promise.all(ids.map(async (id) => (await view(server, id)).attempt));
  expect(held.filter((attempt) => attempt === 1)).toHaveLength(3);
  expect(listener.deliveries()).toHaveLength(3);
});

test("a batch is shared by the agents that are free", async () => {
  const a = await agent(server, "batch", { consumer: "a", capacity: 2 });
  const b = await agent(server, "batch", { consumer: "b", capacity: 2 });
  const intents = Array.from({ length: 4 }, () => ({
    intent_type: "job.v1",
    to_agent: "batch",
    payload: {},
  }));
  await call(server, "POST", "/v1/intents/batch", { intents });
  await Promise.all([a.next("intent.delivered", 2), b.next("intent.delivered", 2)]);
});

test("a new intent does not overtake one that waits in the queue", async () => {
  const listener = await agent(server, "fifo", {
    consumer: "w",
    incarnation: "i",
    intent_types: "other.v1,job.v1",
  });
  const running = await send(server, "fifo");
  await listener.next("intent.delivered");
  const waiting = await send(server, "fifo");
  const [, next] = await Promise.all([
    post(server, running, "resolve", { status: "COMPLETED", attempt: 1 }),
    send(server, "fifo"),
  ]);
  expect((await listener.next("intent.delivered", 2)).data.intent_id).toBe(waiting);
  expect((await view(server, next)).attempt).toBe(0);
});

test("an agent that takes other types, is delayed for, or has gone is passed over", async () => {
  const other = await agent(server, "passed", { consumer: "o", intent_types: "other.v1" });
  const id = await send(server, "passed");
  const later = await send(server, "passed", {
    intent_type: "other.v1",
    deliver_at: new Date(Date.now() + 3_600_000).toISOString(),
  });
  const deliver = (await claimOne(server, "passed", { intent_types: ["job.v1"] })).intent_id;
  expect(deliver).toBe(id);
  expect((await view(server, later)).attempt).toBe(0);
  expect(other.deliveries()).toEqual([]);
});

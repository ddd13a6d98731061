// Order, capacity, delays and sharing of the queue (DELIVERY D3, D8, D11), with notifications on and off.
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { claimOne, eventsOf, inStatus, type Listener, listen, post, send, step, view } from "./listener.ts";

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

const idOf = (frame: { data: { intent_id: string } }) => frame.data.intent_id;

test("higher priority first, then the order of arrival", async () => {
  const low = await send(server, "order", { priority: -5 });
  const a = await send(server, "order");
  const b = await send(server, "order");
  const high = await send(server, "order", { priority: 7 });
  const order: string[] = [];
  for (let i = 0; i < 4; i += 1)
    order.push((await claimOne(server, "order", { consumer: `c${i}` })).intent_id);
  expect(order).toEqual([high, a, b, low]);
});

test("resumed work stays in front of newer work", async () => {
  const first = await send(server, "resumed");
  await claimOne(server, "resumed");
  await send(server, "resumed");
  await post(server, first, "release", { attempt: 1 });
  expect((await claimOne(server, "resumed")).intent_id).toBe(first);
});

test("an agent holds no more than its capacity, and gets the next as soon as it has finished one", async () => {
  const listener = await agent(server, "capacity", { capacity: 2 });
  const ids: string[] = [];
  for (let i = 0; i < 4; i += 1) ids.push(await send(server, "capacity"));
  await listener.next("intent.delivered", 2);
  // A second consumer takes what is left, so the first one's share was bounded by its capacity alone.
  const other = await agent(server, "capacity", { capacity: 1 });
  await other.next("intent.delivered");
  const { rows } = await server.store.pool.query(
    "select count(*)::int as held from leases where consumer_id = $1",
    [listener.consumerId],
  );
  expect(rows[0].held).toBe(2);
  expect(listener.deliveries()).toHaveLength(2);
  await post(server, idOf(listener.deliveries()[0] as never), "resolve", { status: "COMPLETED", attempt: 1 });
  expect(idOf((await listener.next("intent.delivered", 3)) as never)).toBe(ids[3]);
});

test("an agent draining with capacity 0 gets nothing new and keeps what it has", async () => {
  const draining = await agent(server, "drain", { consumer: "a", incarnation: "i", capacity: 5 });
  const held = await send(server, "drain");
  await draining.next("intent.delivered");
  await call(server, "POST", `/v1/consumers/${draining.consumerId}/heartbeat`, {
    incarnation: "i",
    capacity: 0,
    holding: [{ intent_id: held, attempt: 1 }],
  });
  const next = await send(server, "drain");
  const other = await agent(server, "drain", { consumer: "b" });
  expect(idOf((await other.next("intent.delivered")) as never)).toBe(next);
  expect(draining.deliveries()).toHaveLength(1);
});

test("only the types an agent asked for come to it", async () => {
  const other = await send(server, "types", { intent_type: "b.v1" });
  const wanted = await send(server, "types", { intent_type: "a.v1" });
  const listener = await agent(server, "types", { intent_types: "a.v1", capacity: 5 });
  expect(idOf((await listener.next("intent.delivered")) as never)).toBe(wanted);
  expect((await claimOne(server, "types")).intent_id).toBe(other);
  expect(listener.deliveries()).toHaveLength(1);
});

test("nothing is delivered before deliver_at, and then soon", async () => {
  const deliverAt = new Date(Date.now() + 600).toISOString();
  const later = await send(server, "later", { deliver_at: deliverAt });
  const now = await send(server, "later");
  const listener = await agent(server, "later", { capacity: 2 });
  expect(idOf((await listener.next("intent.delivered")) as never)).toBe(now);
  expect(idOf((await listener.next("intent.delivered", 2)) as never)).toBe(later);
  const delivered = (await eventsOf(server, later)).find((event) => event.event_type === "intent.delivered");
  const late = Date.parse(delivered.at) - Date.parse(deliverAt);
  expect(late).toBeGreaterThanOrEqual(0);
  expect(late).toBeLessThan(2_000);
});

test("the first hand-back is available at once, repeated ones wait, and none counts as a loss", async () => {
  const id = await send(server, "release", { max_delivery_attempts: 1, steps: ["one", "two"] });
  for (const attempt of [1, 2]) {
    expect((await claimOne(server, "release")).attempt).toBe(attempt);
    await post(server, id, "release", { attempt });
  }
  const released = (await eventsOf(server, id)).filter((event) => event.event_type === "intent.released");
  expect(released[0].details).not.toHaveProperty("available_in_ms");
  expect(released[1].details.available_in_ms).toBe(400);
  const third = await claimOne(server, "release");
  expect(third).toMatchObject({ attempt: 3, lost_deliveries: 0 });
  const again = (await eventsOf(server, id)).findLast((event) => event.event_type === "intent.delivered");
  expect(Date.parse(again.at) - Date.parse(released[1].at)).toBeGreaterThanOrEqual(400);
  // Progress makes the next hand-back free again.
  await step(server, id, "one", { status: "done", attempt: 3 });
  await post(server, id, "release", { attempt: 3 });
  const last = (await eventsOf(server, id)).findLast((event) => event.event_type === "intent.released");
  expect(last.details).not.toHaveProperty("available_in_ms");
});

/** Completes whatever comes, until told otherwise; remembers what it did. */
async function workOff(listener: Listener, done: string[], total: () => boolean): Promise<void> {
  let at = 0;
  await until("all work is done", async () => {
    const fresh = listener.deliveries().slice(at);
    at += fresh.length;
    await Promise.all(
      fresh.map(async ({ data }) => {
        const answer = await post(server, data.intent_id, "resolve", {
          status: "COMPLETED",
          attempt: data.attempt,
        });
        if (answer.status === 200) done.push(data.intent_id);
      }),
    );
    return total();
  });
}

test("two consumers share 200 intents: each is delivered once, and both get some", async () => {
  const a = await agent(server, "share", { consumer: "a", capacity: 10 });
  const b = await agent(server, "share", { consumer: "b", capacity: 10 });
  const created = await call(server, "POST", "/v1/intents/batch", {
    intents: Array.from({ length: 200 }, (_, n) => ({
      intent_type: "job.v1",
      to_agent: "share",
      payload: { n },
    })),
  });
  const ids: string[] = created.body.intents.map((intent: { intent_id: string }) => intent.intent_id);
  const doneA: string[] = [];
  const doneB: string[] = [];
  const all = () => doneA.length + doneB.length >= 200;
  await Promise.all([workOff(a, doneA, all), workOff(b, doneB, all)]);
  expect([...doneA, ...doneB].sort()).toEqual([...ids].sort());
  expect(doneA.length).toBeGreaterThan(20);
  expect(doneB.length).toBeGreaterThan(20);
  const { rows } = await server.store.pool.query(
    "select count(*)::int as n, max(attempt)::int as attempt from intents where to_agent like '%/share' and status = 'COMPLETED'",
  );
  expect(rows[0]).toEqual({ n: 200, attempt: 1 });
});

test("an agent that does not read its stream blocks nobody, and is dropped rather than waited for", async () => {
  const wide = await startTestServer({ env: { PERDURE_FRAME_MAX_BYTES: "1000000" } });
  try {
    // As many as are sent without waiting for the reader are more than may wait for it.
    const text = "x".repeat(300_000);
    const slow = await listen(wide, "slow", { consumer: "slow", capacity: 200 });
    slow.stopReading();
    // Far more than the kernel and the server buffer for one reader.
    for (let i = 0; i < 6; i += 1) {
      const created = await call(wide, "POST", "/v1/intents/batch", {
        intents: Array.from({ length: 15 }, () => ({
          intent_type: "job.v1",
          to_agent: "slow",
          payload: { text },
        })),
      });
      expect(created.status).toBe(200);
    }
    const neighbour = await listen(wide, "slow-neighbour");
    const id = await send(wide, "slow-neighbour");
    expect((await neighbour.next("intent.delivered")).data.intent_id).toBe(id);
    // A server that is busy, too, takes a while to fill what the kernel buffers; from there it is five seconds.
    await until(
      "the slow reader's socket is dropped",
      () => wide.streams.get(slow.consumerId) === undefined,
      20_000,
    );
    const healthy = await listen(wide, "slow", { consumer: "healthy", capacity: 10 });
    await healthy.next("intent.delivered", 10);
    for (const listener of [slow, neighbour, healthy]) listener.cut();
  } finally {
    await wide.close();
  }
});

test("with notifications off and every hint lost, polling alone delivers", async () => {
  const first = await startTestServer({ env: { PERDURE_NOTIFY: "off" } });
  const second = await startTestServer({ env: { PERDURE_NOTIFY: "off" }, databaseUrl: first.databaseUrl });
  try {
    const listener = await listen(second, "polled", { ack: "explicit" });
    // Created at the other replica: nobody tells this one.
    const id = await send(first, "polled");
    await listener.next("intent.delivered");
    const waiting = call(first, "GET", `/v1/intents/${id}`, undefined).then(() =>
      inStatus(first, id, "COMPLETED"),
    );
    await post(second, id, "resolve", { status: "COMPLETED", attempt: 1, result: "ok" });
    expect((await waiting).result).toBe("ok");
    listener.cut();
  } finally {
    await second.close();
    await first.close();
  }
});

test("an agent that reconnects to another replica keeps its work", async () => {
  const first = await startTestServer();
  const second = await startTestServer({ databaseUrl: first.databaseUrl });
  try {
    const who = { consumer: "a", incarnation: "i", ack: "explicit" } as const;
    const id = await send(first, "moved", { steps: ["one", "two"] });
    const here = await listen(first, "moved", who);
    await here.next("intent.delivered");
    await post(first, id, "start", { attempt: 1 });
    // The new stream comes before the old one's close is seen: that close must not count.
    const there = await listen(second, "moved", who);
    here.cut();
    expect((await there.next("intent.delivered")).data).toMatchObject({ intent_id: id, attempt: 1 });
    await until("the old replica has seen the close", () => first.streams.all().length === 0);
    await step(second, id, "one", { status: "done", attempt: 1 });
    expect((await step(second, id, "two", { status: "done", attempt: 1 })).body.intent_status).toBe(
      "COMPLETED",
    );
    expect(await view(first, id)).toMatchObject({ attempt: 1, lost_deliveries: 0, status: "COMPLETED" });
    there.cut();
  } finally {
    await second.close();
    await first.close();
  }
});

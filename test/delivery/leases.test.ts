// Streams come and go; who keeps its work, who may take a name, and what counts as a loss (DELIVERY D2 to D6).
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase } from "../support/postgres.ts";
import { call, SHORT_LEASES, startTestServer, type TestServer, until } from "../support/server.ts";
import {
  claimOne,
  eventsOf,
  inStatus,
  type Listener,
  listen,
  post,
  send,
  step,
  typesOf,
  view,
} from "./listener.ts";

let server: TestServer;
const open: Listener[] = [];
beforeAll(async () => {
  server = await startTestServer({ env: { PERDURE_RECONNECT_GRACE_MS: "20000" } });
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

const heartbeat = (consumerId: string, body: Record<string, unknown> = {}) =>
  call(server, "POST", `/v1/consumers/${consumerId}/heartbeat`, body);

/** Resolves when the server has seen the stream close. */
async function closeSeen(consumerId: string): Promise<void> {
  await until("the close is seen", async () => {
    const { rows } = await server.store.pool.query(
      "select closed_stream_no = stream_no as seen from consumers where id = $1",
      [consumerId],
    );
    return rows[0]?.seen;
  });
}

test("a stream opens with its terms and delivers what is sent afterwards and before", async () => {
  const before = await send(server, "stream", { payload: { n: 1 } });
  const listener = await agent(server, "stream", { consumer: "a", incarnation: "i", capacity: 2 });
  expect(listener.frames[0]).toMatchObject({
    event: "stream.open",
    data: { consumer: "a", incarnation: "i", lease_ttl_ms: 30_000, heartbeat_interval_ms: 5_000 },
  });
  const first = await listener.next("intent.delivered");
  expect(first.data).toMatchObject({
    intent_id: before,
    attempt: 1,
    redelivered: false,
    intent: { payload: { n: 1 } },
  });
  const after = await send(server, "stream");
  expect((await listener.next("intent.delivered", 2)).data.intent_id).toBe(after);
});

test("the same incarnation back within the grace keeps its work and gets the same frame again", async () => {
  const id = await send(server, "grace", { steps: ["one", "two"] });
  const first = await agent(server, "grace", { consumer: "a", incarnation: "i", ack: "explicit" });
  await first.next("intent.delivered");
  await post(server, id, "start", { attempt: 1 });
  first.cut();
  await closeSeen(first.consumerId);
  const second = await agent(server, "grace", { consumer: "a", incarnation: "i", ack: "explicit" });
  const again = await second.next("intent.delivered");
  expect(again.data).toMatchObject({ intent_id: id, attempt: 1, lost_deliveries: 0 });
  expect(again.data.steps[0]).toMatchObject({ key: "one", status: "running", tries: 1 });
  expect((await step(server, id, "one", { status: "done", attempt: 1 })).status).toBe(200);
  expect(await typesOf(server, id)).not.toContain("lost");
});

test("the grace after a predecessor's death spares the streams that were opened since", async () => {
  const database = await createTestDatabase();
  const predecessor = new pg.Client({ connectionString: database.url });
  await predecessor.connect();
  // It pulsed a moment ago: whether it still serves is not sure when the successor comes up.
  await predecessor.query("insert into replicas values (gen_random_uuid(), perdure_now(), perdure_now())");
  const successor = await startTestServer({ databaseUrl: database.url });
  try {
    const listener = await agent(successor, "spared", { consumer: "a", incarnation: "i" });
    await predecessor.query("delete from replicas where id <> $1", [successor.engine.replicaId]);
    await successor.sweepers.pulse.tick();
    const { rows } = await predecessor.query(
      "select closed_stream_no < stream_no as open from consumers where id = $1",
      [listener.consumerId],
    );
    expect(rows).toEqual([{ open: true }]);
  } finally {
    await predecessor.end();
    await successor.close();
    await database.drop();
  }
});

test("a late close of an old stream does not end the lease of its successor", async () => {
  const id = await send(server, "late-close");
  const first = await agent(server, "late-close", { consumer: "a", incarnation: "i" });
  await first.next("intent.delivered");
  const second = await agent(server, "late-close", { consumer: "a", incarnation: "i" });
  expect((await second.next("intent.delivered")).data.attempt).toBe(1);
  await until("the older stream is ended", () => first.ended);
  expect(first.frames.at(-1)).toMatchObject({ event: "stream.end", data: { reason: "replaced" } });
  const { rows } = await server.store.pool.query(
    "select closed_stream_no, stream_no from consumers where id = $1",
    [second.consumerId],
  );
  expect(rows[0]).toEqual({ closed_stream_no: 0, stream_no: 2 });
  expect((await view(server, id)).attempt).toBe(1);
});

test("a stream whose lease ended all the same is ended, so that its agent connects again", async () => {
  const listener = await agent(server, "lease-over", { consumer: "a", incarnation: "i" });
  await server.store.pool.query("update consumers set lease_until = null where id = $1", [
    listener.consumerId,
  ]);
  await server.sweepers.renewals.tick();
  await until("the end of the stream", () => listener.ended);
  expect(listener.frames.at(-1)).toMatchObject({ event: "stream.end", data: { reason: "lease_over" } });
  const again = await agent(server, "lease-over", { consumer: "a", incarnation: "i" });
  await send(server, "lease-over");
  await again.next("intent.delivered");
});

test("another process may not take a name whose lease runs", async () => {
  const first = await agent(server, "in-use", { consumer: "a", incarnation: "one" });
  const second = await listen(server, "in-use", { consumer: "a", incarnation: "two" });
  expect(second.refusal).toMatchObject({ status: 409, body: { code: "consumer_in_use" } });
  expect(Number(second.refusal?.retryAfter)).toBeGreaterThan(0);
  expect(first.ended).toBe(false);
});

test("after a seen close another process takes over at once; the loss is counted and the old one shut out", async () => {
  const id = await send(server, "takeover");
  const options = { consumer: "a", lease_ttl_seconds: 60 };
  const first = await agent(server, "takeover", { ...options, incarnation: "one" });
  await first.next("intent.delivered");
  // A grace far longer than the test: nothing but the takeover can end the attempt.
  await server.store.pool.query("update consumers set closed_stream_no = stream_no where id = $1", [
    first.consumerId,
  ]);
  const second = await agent(server, "takeover", { ...options, incarnation: "two" });
  expect((await second.next("intent.delivered")).data).toMatchObject({
    intent_id: id,
    attempt: 2,
    lost_deliveries: 1,
    redelivered: true,
  });
  const lost = (await eventsOf(server, id)).find((event) => event.event_type === "intent.lost");
  expect(lost.details).toMatchObject({ reason: "takeover", attempt: 1, lost_deliveries: 1 });
  const old = await listen(server, "takeover", { ...options, incarnation: "one" });
  expect(old.refusal).toMatchObject({ status: 409, body: { code: "consumer_superseded" } });
  const beat = await heartbeat(first.consumerId, { incarnation: "one" });
  expect(beat.body.code).toBe("consumer_superseded");
});

test("a name two processes fight over is not handed back and forth", async () => {
  const first = await agent(server, "fight", { consumer: "a", incarnation: "one", lease_ttl_seconds: 60 });
  const refused = await listen(server, "fight", { consumer: "a", incarnation: "two", lease_ttl_seconds: 60 });
  expect(refused.refusal?.body.code).toBe("consumer_in_use");
  first.cut();
  await closeSeen(first.consumerId);
  // Refused within one ttl: it has to wait for the grace even though the close was seen.
  const again = await listen(server, "fight", { consumer: "a", incarnation: "two", lease_ttl_seconds: 60 });
  expect(again.refusal?.body.code).toBe("consumer_in_use");
});

test("an agent that is away longer than the grace loses its work to the next one", async () => {
  const { PERDURE_RECONNECT_GRACE_MS = "" } = SHORT_LEASES;
  const hasty = await startTestServer({ env: { PERDURE_RECONNECT_GRACE_MS } });
  try {
    const id = await send(hasty, "away");
    const first = await agent(hasty, "away", { consumer: "a", incarnation: "one" });
    await first.next("intent.delivered");
    first.cut();
    const second = await agent(hasty, "away", { consumer: "b" });
    expect((await second.next("intent.delivered")).data).toMatchObject({ attempt: 2, lost_deliveries: 1 });
    expect(await typesOf(hasty, id)).toEqual([
      "created",
      "submitted",
      "delivered",
      "in_progress",
      "lost",
      "redelivery_scheduled",
      "delivered",
    ]);
  } finally {
    await hasty.close();
  }
});

test("a heartbeating agent that falls silent loses its work when the lease ends, though its stream is open", async () => {
  const id = await send(server, "silent");
  const first = await agent(server, "silent", { consumer: "a", incarnation: "i", lease_ttl_seconds: 2 });
  await first.next("intent.delivered");
  await heartbeat(first.consumerId, { incarnation: "i" });
  const told = await first.next("intent.lost");
  expect(told.data).toMatchObject({ intent_id: id, attempt: 1, reason: "lease_expired" });
  expect((await heartbeat(first.consumerId, { incarnation: "i" })).body.code).toBe("consumer_lost");
});

test("an agent that never heartbeats keeps its lease as long as its stream is open", async () => {
  const id = await send(server, "quiet");
  const first = await agent(server, "quiet", { consumer: "a", incarnation: "i", lease_ttl_seconds: 1 });
  await first.next("intent.delivered");
  const leaseUntil = async () =>
    (await server.store.pool.query("select lease_until from consumers where id = $1", [first.consumerId]))
      .rows[0].lease_until;
  const start = await leaseUntil();
  await until("two renewals beyond one whole ttl", async () => (await leaseUntil()) > start + 1_200);
  expect(await view(server, id)).toMatchObject({ attempt: 1, status: "IN_PROGRESS" });
});

test("an agent that never heartbeats keeps a lease much shorter than the server's own", async () => {
  const slow = await startTestServer({
    env: { PERDURE_HEARTBEAT_INTERVAL_MS: "10000", PERDURE_LEASE_TTL_MS: "30000" },
  });
  try {
    const id = await send(slow, "short");
    const listener = await listen(slow, "short", { lease_ttl_seconds: 1 });
    await listener.next("intent.delivered");
    const leaseUntil = async () =>
      (await slow.store.pool.query("select lease_until from consumers where id = $1", [listener.consumerId]))
        .rows[0].lease_until;
    const start = await leaseUntil();
    await until("renewals beyond one whole ttl", async () => (await leaseUntil()) > start + 1_200);
    expect(await view(slow, id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });
    listener.cut();
  } finally {
    await slow.close();
  }
});

test("a heartbeat's answer says what is held, lost and canceled", async () => {
  const ids = [await send(server, "beat"), await send(server, "beat"), await send(server, "beat")];
  const listener = await agent(server, "beat", { consumer: "a", incarnation: "i", capacity: 3 });
  await listener.next("intent.delivered", 3);
  await post(server, ids[1] as string, "cancel", { reason: "no longer wanted" });
  await post(server, ids[2] as string, "release", { attempt: 1 });
  const unknown = "00000000-0000-4000-8000-000000000000";
  const holding = [...ids, unknown].map((intent_id) => ({ intent_id, attempt: 1 }));
  const beat = await heartbeat(listener.consumerId, { incarnation: "i", holding, capacity: 0 });
  expect(beat.body.held).toContainEqual({ intent_id: ids[0], attempt: 1, cancel: false, pause: false });
  expect(beat.body.held.some((one: { intent_id: string }) => one.intent_id === ids[1])).toBe(false);
  expect(beat.body.canceled).toEqual([
    { intent_id: ids[1], attempt: 1, status: "CANCELED", reason: expect.any(String) },
  ]);
  expect(beat.body.lost).toContainEqual({ intent_id: ids[2], attempt: 1, reason: "attempt_ended" });
  expect(beat.body.lost).toContainEqual({ intent_id: unknown, attempt: 1, reason: "unknown" });
  expect((await heartbeat(unknown)).body.code).toBe("consumer_lost");
});

test("a deliverable too large for a frame says where to fetch it", async () => {
  const small = await startTestServer({ env: { PERDURE_FRAME_MAX_BYTES: "2048" } });
  try {
    const id = await send(small, "large", { payload: { text: "x".repeat(5_000) } });
    const listener = await listen(small, "large");
    expect((await listener.next("intent.delivered")).data).toEqual({
      intent_id: id,
      attempt: 1,
      fetch: true,
    });
    const fetched = await call(small, "GET", `/v1/intents/${id}/delivery?attempt=1`);
    expect(fetched.body.delivery.intent.payload.text).toHaveLength(5_000);
    listener.cut();
  } finally {
    await small.close();
  }
});

test("a stream's holder is told at once of a cancel, and its later writes are refused", async () => {
  const id = await send(server, "cancel", { steps: ["one"] });
  const listener = await agent(server, "cancel", { consumer: "a", ack: "explicit" });
  await listener.next("intent.delivered");
  await post(server, id, "start", { attempt: 1 });
  await post(server, id, "cancel", { reason: "changed my mind" });
  expect((await listener.next("intent.canceled")).data).toEqual({
    intent_id: id,
    attempt: 1,
    status: "CANCELED",
    reason: "changed my mind",
  });
  const late = await step(server, id, "one", { status: "done", attempt: 1 });
  expect(late.body.code).toBe("stale_attempt");
  expect(await inStatus(server, id, "CANCELED")).toMatchObject({ attempt: 1 });
});

test("a heartbeat for an intent renews the lease of an agent that has no stream, and is fenced", async () => {
  const id = await send(server, "touch");
  await claimOne(server, "touch", { consumer: "shell", lease_seconds: 60 });
  const leaseSeconds = async () => {
    const { rows } = await server.store.pool.query(
      "select extract(epoch from lease_until - perdure_now())::float8 as left from consumers where name = 'shell'",
    );
    return rows[0].left;
  };
  await server.store.pool.query(
    "update consumers set lease_until = perdure_now() + interval '20 seconds' where name = 'shell'",
  );
  expect((await post(server, id, "heartbeat", { attempt: 1 })).body).toMatchObject({
    ok: true,
    pause: false,
  });
  expect(await leaseSeconds()).toBeGreaterThan(50);
  expect((await post(server, id, "heartbeat", { attempt: 0 })).status).not.toBe(200);
});

test("names that nobody has used for long are forgotten, however many there are", async () => {
  await server.store.pool.query(
    `insert into consumers (id, namespace, address, name, incarnation, mode, explicit_ack, capacity, lease_ttl_ms, stream_no, created_at, seen_at)
      select gen_random_uuid(), 'default', 'default/idle', 'n' || n, 'i', 'claim', false, 1, 1000, 1, t.long_ago, t.long_ago
      from generate_series(1, 2500) n, (select perdure_now() - interval '2 hours' as long_ago) t`,
  );
  await server.sweepers.housekeeping.tick();
  const { rows } = await server.store.pool.query(
    "select count(*)::int as left from consumers where address = 'default/idle'",
  );
  expect(rows).toEqual([{ left: 0 }]);
});

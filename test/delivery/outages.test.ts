// Nobody is held dead for a silence that nobody could have broken: outages of the database, of all replicas or of one
// (DELIVERY D6, I12). The pulses here are made by hand, so that each test says what came before what.
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openProxy } from "../faults/proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { claimOne, type Listener, listen, send, typesOf, view } from "./listener.ts";

/** As long as in production: nothing ends by itself while a test runs. */
const SLOW = {
  PERDURE_HEARTBEAT_INTERVAL_MS: "10000",
  PERDURE_LEASE_TTL_MS: "30000",
  PERDURE_RESTART_GRACE_MS: "10000",
};

let server: TestServer;
const open: Listener[] = [];
beforeAll(async () => {
  server = await startTestServer({ env: SLOW });
  const { pulse, watch, leases } = server.sweepers;
  await Promise.all([pulse, watch, leases].map((worker) => worker.stop()));
});
afterEach(async () => {
  for (const listener of open.splice(0)) listener.cut();
  await until("the streams are closed", () => server.streams.all().length === 0);
  await query("delete from replicas where id <> $1", [server.engine.replicaId]);
  await query("update consumers set lease_until = null, closed_stream_no = stream_no");
});
afterAll(() => server.close());

async function agent(...args: Parameters<typeof listen>): Promise<Listener> {
  const listener = await listen(...args);
  open.push(listener);
  return listener;
}

const query = async (text: string, values: unknown[] = []) =>
  (await server.store.pool.query(text, values)).rows;

/** Nobody pulsed for a minute, in which every lease ran out. */
async function outage(): Promise<void> {
  await query("update replicas set pulsed_at = pulsed_at - interval '60 seconds'");
  await query(
    "update consumers set lease_until = perdure_now() - interval '1 second' where lease_until is not null",
  );
}

const leaseOf = async (consumerId: string) =>
  (
    await query(
      `select lease_until > perdure_now() as running, closed_stream_no >= stream_no as closed from consumers where id = $1`,
      [consumerId],
    )
  )[0];

async function holder(address: string): Promise<{ id: string; listener: Listener }> {
  await server.sweepers.pulse.tick();
  const id = await send(server, address);
  const listener = await agent(server, address, { consumer: "a", incarnation: "i" });
  await listener.next("intent.delivered");
  return { id, listener };
}

test("an agent that comes back after an outage, before the first pulse, keeps its work", async () => {
  const { id } = await holder("early");
  await outage();
  const again = await agent(server, "early", { consumer: "a", incarnation: "i" });
  expect((await again.next("intent.delivered")).data).toMatchObject({ attempt: 1, lost_deliveries: 0 });
  expect(await typesOf(server, id)).not.toContain("lost");
});

test("after an outage, before the first pulse, nobody takes over what another process holds", async () => {
  const { id } = await holder("early-name");
  await outage();
  const other = await listen(server, "early-name", { consumer: "a", incarnation: "another" });
  expect(other.refusal).toMatchObject({ status: 409, body: { code: "consumer_in_use" } });
  expect(Number(other.refusal?.retryAfter)).toBeGreaterThan(0);
  expect(await typesOf(server, id)).not.toContain("lost");
});

test("the sweeper declares nobody dead before the grace after an outage, and whoever is silent then", async () => {
  const { id, listener } = await holder("early-sweep");
  await outage();
  await server.sweepers.leases.tick();
  expect(await typesOf(server, id)).not.toContain("lost");
  await server.sweepers.pulse.tick();
  expect(await leaseOf(listener.consumerId)).toEqual({ running: true, closed: true });
  await until("the stream is ended", () => listener.ended);
  expect(listener.frames.at(-1)).toMatchObject({ event: "stream.end", data: { reason: "recovered" } });
  await query("update consumers set lease_until = perdure_now() where id = $1", [listener.consumerId]);
  await server.sweepers.leases.tick();
  expect(await typesOf(server, id)).toContain("lost");
});

test("an agent without a stream renews its lease by a heartbeat after an outage", async () => {
  await server.sweepers.pulse.tick();
  await send(server, "early-beat");
  await claimOne(server, "early-beat", { consumer: "shell", lease_seconds: 60 });
  const [{ id }] = await query("select id from consumers where name = 'shell'");
  await outage();
  expect((await call(server, "POST", `/v1/consumers/${id}/heartbeat`, {})).status).toBe(200);
  expect(await leaseOf(id)).toMatchObject({ running: true });
});

test("whoever sees the first pulse after an outage sees the grace too", async () => {
  const { listener } = await holder("at-once");
  await outage();
  const slow = new pg.Client({ connectionString: server.databaseUrl });
  await slow.connect();
  try {
    await slow.query("begin");
    await slow.query("select 1 from consumers where id = $1 for update", [listener.consumerId]);
    const pulsing = server.sweepers.pulse.tick();
    await until("the grace waits for the consumer", async () => {
      const [{ waiting }] = await query(
        "select exists (select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock') as waiting",
      );
      return waiting;
    });
    const pulsed = "select max(pulsed_at) > perdure_now() - interval '30 seconds' as fresh from replicas";
    expect(await query(pulsed)).toEqual([{ fresh: false }]);
    await slow.query("commit");
    await pulsing;
    expect(await query(pulsed)).toEqual([{ fresh: true }]);
    expect(await leaseOf(listener.consumerId)).toMatchObject({ running: true });
  } finally {
    await slow.end();
  }
});

test("streams that count as closed are ended by the replica that has them, and a heartbeat says it at once", async () => {
  const { id, listener } = await holder("closed");
  // As another replica's grace does while this one's pulse is late.
  await query("update consumers set closed_stream_no = stream_no where id = $1", [listener.consumerId]);
  const beat = await call(server, "POST", `/v1/consumers/${listener.consumerId}/heartbeat`, {
    incarnation: "i",
  });
  expect([beat.status, beat.body.code]).toEqual([409, "consumer_lost"]);
  await server.sweepers.pulse.tick();
  await until("the stream is ended", () => listener.ended);
  expect(listener.frames.at(-1)).toMatchObject({ event: "stream.end", data: { reason: "recovered" } });
  const again = await agent(server, "closed", { consumer: "a", incarnation: "i" });
  expect((await again.next("intent.delivered")).data).toMatchObject({ intent_id: id, attempt: 1 });
});

test("a replica whose pulse is late, by less than a heartbeat interval, keeps its streams when another comes up", async () => {
  const { listener } = await holder("late");
  await query("update replicas set pulsed_at = perdure_now() - interval '8 seconds'");
  const second = await startTestServer({ databaseUrl: server.databaseUrl, env: SLOW });
  try {
    expect(await leaseOf(listener.consumerId)).toEqual({ running: true, closed: false });
    await server.sweepers.pulse.tick();
    expect(listener.ended).toBe(false);
  } finally {
    await second.close();
  }
});

test("a replica that comes up beside another ends nobody's lease for the time before, and closes no stream", async () => {
  const { id, listener } = await holder("second");
  await query("update consumers set lease_until = perdure_now() - interval '1 second' where id = $1", [
    listener.consumerId,
  ]);
  const second = await startTestServer({ databaseUrl: server.databaseUrl, env: SLOW });
  try {
    expect(await leaseOf(listener.consumerId)).toEqual({ running: true, closed: false });
    await second.sweepers.leases.tick();
    expect(await typesOf(server, id)).not.toContain("lost");
  } finally {
    await second.close();
  }
});

test("a replica that comes up after a crash closes its predecessor's streams once that is sure, and none of its own", async () => {
  const { listener: orphan } = await holder("inherited");
  // The predecessor pulsed a moment ago, and never again.
  await query("insert into replicas select gen_random_uuid(), perdure_now(), perdure_now()");
  await query("update consumers set replica_id = (select id from replicas where id <> $2) where id = $1", [
    orphan.consumerId,
    server.engine.replicaId,
  ]);
  await query("delete from replicas where id = $1", [server.engine.replicaId]);
  await server.sweepers.pulse.tick();
  expect(await leaseOf(orphan.consumerId)).toEqual({ running: true, closed: false });
  const own = await agent(server, "inherited", { consumer: "b" });
  await query("update replicas set pulsed_at = pulsed_at - interval '1 minute' where id <> $1", [
    server.engine.replicaId,
  ]);
  await server.sweepers.pulse.tick();
  expect(await leaseOf(orphan.consumerId)).toEqual({ running: true, closed: true });
  expect(await leaseOf(own.consumerId)).toEqual({ running: true, closed: false });
});

test("a database that hangs is noticed: streams are ended, the pulse gives up, and work goes on when it answers", async () => {
  const database = await createTestDatabase();
  const url = new URL(database.url);
  const wire = await openProxy({ host: url.hostname, port: Number(url.port) });
  url.port = String(wire.port);
  const hung = await startTestServer({ databaseUrl: url.href });
  try {
    const id = await send(hung, "hung", { steps: ["one"] });
    const listener = await listen(hung, "hung", { consumer: "a", incarnation: "i" });
    await listener.next("intent.delivered");
    wire.blackhole();
    await until("the stream is ended", () => listener.ended);
    expect(listener.frames.at(-1)).toMatchObject({ event: "stream.end", data: { reason: "database" } });
    expect((await call(hung, "GET", "/ready")).status).toBe(503);
    await hung.sweepers.pulse.tick();
    wire.pass();
    await until("the server is ready", async () => (await call(hung, "GET", "/ready")).status === 200);
    const again = await listen(hung, "hung", { consumer: "a", incarnation: "i" });
    await again.next("intent.delivered");
    expect(await view(hung, id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });
    again.cut();
  } finally {
    await hung.close();
    await wire.close();
    await database.drop({ openConnections: "close" });
  }
});

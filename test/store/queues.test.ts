// Queues of which much has been delivered: how many dead entries a look at them walks over while a forgotten transaction keeps vacuum from
// removing them, and that nobody is forgotten for it.
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { QueueHeads } from "../../server/store/queue-heads.ts";
import { claimOne, post, send } from "../delivery/listener.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startTestServer, type TestServer, until } from "../support/server.ts";

const DELIVERED = 5_000;
/** So rarely that no poll falls into a test, unless it is what is tried. */
const POLL_MS = "30000";

let server: TestServer;
let database: TestDatabase;
let holder: pg.Client;
beforeEach(async () => {
  database = await createTestDatabase();
  server = await startTestServer({ databaseUrl: database.url, env: { PERDURE_POLL_INTERVAL_MS: POLL_MS } });
  holder = new pg.Client({ connectionString: server.databaseUrl });
  await holder.connect();
});
afterEach(async () => {
  await holder.end();
  await server.close();
  await database.drop();
});

const forgetTransaction = () =>
  holder.query("begin isolation level repeatable read; select count(*) from intents");

/** As if so many had been queued, delivered and ended: what is left of them. */
async function leaveDead(address: string): Promise<void> {
  const { rows } = await server.store.pool.query(
    "select address, id from consumers where address like '%/' || $1",
    [address],
  );
  await server.store.pool.query(`begin;
    insert into ready select '${rows[0].address}', 0, now() - interval '1 hour' + n * interval '1 millisecond', gen_random_uuid(), 'job.v1'
      from generate_series(1, ${DELIVERED}) n;
    delete from ready where queue_at < now() - interval '30 minutes';
    insert into leases (intent_id, consumer_id, attempt)
      select gen_random_uuid(), '${rows[0].id}', 0 from generate_series(1, ${DELIVERED}) n;
    delete from leases where attempt = 0;
    commit`);
}

async function deliverOne(address: string): Promise<void> {
  await send(server, address);
  const { intent_id, attempt } = await claimOne(server, address);
  await post(server, intent_id, "resolve", { status: "COMPLETED", attempt, result: 1 });
}

/** Index entries of queues and leases that are read for `work`. */
async function entriesRead(work: () => Promise<void>): Promise<number> {
  const count = async () => {
    const { pool, writers, transactors } = server.store;
    for (const each of [pool, writers, transactors]) {
      const clients = await Promise.all(Array.from({ length: each.totalCount }, () => each.connect()));
      for (const client of clients) await client.query("select pg_stat_force_next_flush()");
      for (const client of clients) await client.query("select 1");
      for (const client of clients) client.release();
    }
    const { rows } = await pool.query(
      "select sum(idx_tup_read)::int as n from pg_stat_user_indexes where relname in ('ready', 'leases')",
    );
    return Number(rows[0].n);
  };
  const before = await count();
  await work();
  return (await count()) - before;
}

test("deliveries walk over few of the entries that a forgotten transaction keeps", async () => {
  await deliverOne("busy");
  await forgetTransaction();
  await leaveDead("busy");
  // What is counted anew once is not counted again.
  await deliverOne("busy");
  const read = await entriesRead(() => deliverOne("busy"));
  expect(read).toBeLessThan(DELIVERED / 5);
});

test("what another server puts in front of a queue is found by the poll, whatever is told of it", async () => {
  const quiet = { PERDURE_NOTIFY: "off", PERDURE_POLL_INTERVAL_MS: "200" };
  const other = await startTestServer({ databaseUrl: server.databaseUrl, env: quiet });
  const here = await startTestServer({ databaseUrl: server.databaseUrl, env: quiet });
  try {
    const old = await send(here, "shared");
    const { attempt } = await claimOne(here, "shared");
    await send(here, "shared");
    await claimOne(here, "shared", { consumer: "second" });
    await post(other, old, "release", { attempt });
    const again = await claimOne(here, "shared", { consumer: "third" });
    expect(again).toMatchObject({ intent_id: old, attempt: attempt + 1 });
  } finally {
    await here.close();
    await other.close();
  }
});

test("an entry that is there again after a standby took over is delivered", async () => {
  const id = await send(server, "restored");
  const { attempt } = await claimOne(server, "restored");
  await send(server, "restored");
  await claimOne(server, "restored", { consumer: "second" });
  // It had not heard of the last commits.
  await holder.query(
    "update intents set status = 'SUBMITTED', consumer_id = null, attempt = $2 - 1, queue_at = queue_at - interval '1 minute' where id = $1",
    [id, attempt],
  );
  await holder.query("delete from leases where intent_id = $1", [id]);
  await holder.query(
    "insert into ready select to_agent, -priority, queue_at, id, intent_type from intents where id = $1",
    [id],
  );
  await holder.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
  const { transactors } = server.store;
  await until("the broken connections are gone", () => transactors.totalCount === 0);
  const found = await claimOne(server, "restored", { consumer: "third" });
  expect(found.intent_id).toBe(id);
});

const AT = 1_700_000_000_000;
const entry = (queueAt: number, rank = 0) => ({ address: "a", rank, queueAt });
/** What a queue is looked at from, by rank. */
const parts = (queues: QueueHeads) => queues.parts(["a"]).map((part) => part.toString("hex"));

test("a mark moves with what is found, and an entry that is added before it moves it back", () => {
  const queues = new QueueHeads();
  const beginning = parts(queues);
  queues.look().close([entry(AT)]);
  const marked = parts(queues);
  expect(marked).not.toEqual(beginning);
  queues.look().close([]);
  queues.add(entry(AT + 1));
  expect(parts(queues)).toEqual(marked);
  queues.add(entry(AT - 10_000));
  const lowered = parts(queues);
  expect(lowered).not.toEqual(marked);
  // One that began before an entry was added cannot have seen it.
  const look = queues.look();
  queues.add(entry(AT - 20_000));
  look.close([entry(AT + 5_000)]);
  const expected = new QueueHeads();
  expected.look().close([entry(AT + 5_000)]);
  expected.add(entry(AT - 20_000));
  expect(parts(queues)).toEqual(parts(expected));
  queues.forget();
  expect(parts(queues)).toEqual(beginning);
});

test("what a look found counts for nothing when a connection broke meanwhile", () => {
  const queues = new QueueHeads();
  const look = queues.look();
  queues.forget();
  look.close([entry(AT)]);
  expect(parts(queues)).toEqual(parts(new QueueHeads()));
});

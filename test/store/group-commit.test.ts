// Everything waiting is one transaction: neighbours are independent, order holds, and no acknowledgement is a guess.
import { afterAll, beforeAll, expect, test } from "vitest";
import { newId } from "../../server/domain/ids.ts";
import { RawJson } from "../../server/domain/raw-json.ts";
import { wasCommitted } from "../../server/store/commit.ts";
import { GroupCommit, type Write } from "../../server/store/group-commit.ts";
import { claimOne, eventsOf, post, send, step, view } from "../delivery/listener.ts";
import { asAdmin } from "../support/postgres.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { openWire } from "./wire.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const read = (name: string, decide: () => unknown): Write<unknown> => ({ name, intents: [], decide });

test("an operation that is refused or broken costs its neighbours in the same flush nothing", async () => {
  const flushes: number[] = [];
  const commits = new GroupCommit(server.store, {
    queueMax: 100,
    onFlush: ({ operations }) => flushes.push(operations),
  });
  const results = await Promise.allSettled([
    commits.submit(read("a", () => 1)),
    commits.submit(
      read("broken", () => {
        throw new Error("a bug");
      }),
    ),
    commits.submit(read("b", () => 2)),
  ]);
  expect(
    results.map((result) => (result.status === "fulfilled" ? result.value : String(result.reason))),
  ).toEqual([1, "Error: a bug", 2]);
  expect(flushes).toEqual([3]);
  await commits.close();
});

test("an operation that the database refuses costs its neighbours in the same flush nothing", async () => {
  const commits = new GroupCommit(server.store, { queueMax: 100 });
  const record = (key: string, namespace: string): Write<string> => ({
    name: key,
    intents: [],
    decide(work) {
      const ref = { namespace, sender: "s", operation: "test", key, fingerprint: "f" };
      // NUL is what no column of text takes; the routes keep it out.
      work.stageRecord({ ...ref, intentId: newId(), response: RawJson.of(1) });
      return key;
    },
  });
  const results = await Promise.allSettled([
    commits.submit(record("a", "n")),
    commits.submit(record("broken", "n\u0000")),
    commits.submit(record("b", "n")),
  ]);
  expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  const { rows } = await server.store.pool.query(
    "select key from idempotency_keys where operation = 'test' order by key",
  );
  expect(rows.map((row) => row.key)).toEqual(["a", "b"]);
  await commits.close();
});

test("a retry and an end of the same intent may share a flush", async () => {
  const id = await send(server, "reopened");
  await post(server, id, "cancel");
  for (let n = 0; n < 5; n += 1) {
    const answers = await Promise.all([post(server, id, "retry"), post(server, id, "cancel")]);
    expect(answers.map((answer) => answer.status)).toEqual([200, 200]);
    await post(server, id, "cancel");
  }
  expect(await view(server, id)).toMatchObject({ status: "CANCELED", error: { code: "canceled" } });
});

test("a lost commit is recognised by what it wrote, not by an id that a crash may have given out again", async () => {
  const id = await send(server, "proof");
  const { rows } = await server.store.pool.query(
    "select xmin::text as xid, type, at, actor, namespace from events where intent_id = $1 and seq = 1",
    [id],
  );
  const [{ xid, ...row }] = rows;
  const event = {
    ...row,
    intentId: id,
    seq: 1,
    status: "CREATED",
    waitingReason: null,
    attempt: null,
    details: null,
  };
  expect(await wasCommitted(server.store, { wrote: true, xid, event })).toBe(true);
  // The same id, committed, but by somebody else's transaction.
  expect(await wasCommitted(server.store, { wrote: true, xid, event: { ...event, at: event.at + 1 } })).toBe(
    false,
  );
  expect(await wasCommitted(server.store, { wrote: true, xid, event: { ...event, seq: 99 } })).toBe(false);
  // The same event, written by another transaction.
  expect(await wasCommitted(server.store, { wrote: true, xid: String(Number(xid) - 1), event })).toBe(false);
  // An id that the database has not given out yet.
  expect(await wasCommitted(server.store, { wrote: true, xid: String(Number(xid) + 1_000_000), event })).toBe(
    false,
  );
});

test("refused writes of one intent leave the good ones beside them whole", async () => {
  const id = await send(server, "mixed", { steps: ["a", "b", "c"] });
  await claimOne(server, "mixed");
  const answers = await Promise.all([
    step(server, id, "a", { status: "done", attempt: 1, result: 1 }),
    step(server, id, "b", { status: "done", attempt: 9, result: "stale" }),
    step(server, id, "b", { status: "done", attempt: 1, result: 2 }),
    post(server, id, "resolve", { status: "COMPLETED", attempt: 7 }),
    step(server, id, "c", { status: "done", attempt: 1, result: 3 }),
  ]);
  expect(answers.map((answer) => answer.status)).toEqual([200, 409, 200, 409, 200]);
  expect(await view(server, id)).toMatchObject({ status: "COMPLETED", progress: { done: 3, total: 3 } });
});

test("two hundred concurrent writes of one intent make a log without gap or repetition", async () => {
  const id = await send(server, "gapless");
  await claimOne(server, "gapless");
  await Promise.all(
    Array.from({ length: 200 }, (_, n) => post(server, id, "progress", { attempt: 1, message: String(n) })),
  );
  const events = await eventsOf(server, id);
  expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
  const said = events.filter((event) => event.event_type === "intent.progress").map((e) => e.details.message);
  expect(new Set(said).size).toBe(200);
});

test("operations of one intent are decided in the order they were submitted", async () => {
  const id = await send(server, "ordered");
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      server.engine.commits.submit({ name: "ordered", intents: [id], decide: () => void order.push(n) }),
    ),
  );
  expect(order).toEqual(Array.from({ length: 50 }, (_, n) => n));
});

/** With tables that a test has locked, as a slow disk would hold them. */
const PATIENT = { PERDURE_DB_LOCK_TIMEOUT_MS: "60000", PERDURE_DB_QUERY_TIMEOUT_MS: "90000" };

test("one write more than the queue holds is refused as unavailable, and nothing of it is stored", async () => {
  const narrow = await startTestServer({ env: { PERDURE_QUEUE_MAX: "16", ...PATIENT } });
  try {
    // Writers blocked by a lock, as a slow disk would block them.
    const answers = await asAdmin(narrow.databaseUrl, async (admin) => {
      await admin.query("begin; lock table intents in access exclusive mode");
      const sent = Array.from({ length: 200 }, () =>
        call(narrow, "POST", "/v1/intents", { intent_type: "job.v1", to_agent: "full", payload: {} }),
      );
      let refused = 0;
      for (const one of sent) void one.then((answer) => (refused += answer.status === 503 ? 1 : 0));
      await until("some are refused while the rest wait", () => refused > 0);
      await admin.query("rollback");
      return Promise.all(sent);
    });
    const accepted = answers.filter((answer) => answer.status === 200);
    const refused = answers.filter((answer) => answer.status === 503);
    expect(refused.length).toBeGreaterThan(0);
    expect(accepted.length + refused.length).toBe(200);
    expect(refused[0]?.body).toMatchObject({ code: "unavailable" });
    expect(refused[0]?.headers.get("retry-after")).not.toBeNull();
    const { rows } = await narrow.store.pool.query("select count(*)::int as n from intents");
    expect(rows[0].n).toBe(accepted.length);
  } finally {
    await narrow.close();
  }
});

test("writes are refused as unavailable when those that wait hold too much, however few they are", async () => {
  const narrow = await startTestServer({ env: { PERDURE_QUEUE_MAX_BYTES: "1048576", ...PATIENT } });
  try {
    const payload = { text: "x".repeat(200_000) };
    const answers = await asAdmin(narrow.databaseUrl, async (admin) => {
      await admin.query("begin; lock table intents in access exclusive mode");
      const sent = Array.from({ length: 20 }, () =>
        call(narrow, "POST", "/v1/intents", { intent_type: "job.v1", to_agent: "full", payload }),
      );
      let refused = 0;
      for (const one of sent) void one.then((answer) => (refused += answer.status === 503 ? 1 : 0));
      await until("those beyond five are refused while the rest wait", () => refused === 15);
      await admin.query("rollback");
      return Promise.all(sent);
    });
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(5);
    // What is answered counts no more, and one alone is never too much.
    const large = { intent_type: "job.v1", to_agent: "full", payload: { text: "x".repeat(1_040_000) } };
    for (let n = 0; n < 2; n += 1)
      expect((await call(narrow, "POST", "/v1/intents", large)).status).toBe(200);
  } finally {
    await narrow.close();
  }
});

test("a flush takes no more than its bytes, in order, and what is larger goes alone", async () => {
  const flushes: number[] = [];
  const order: string[] = [];
  const commits = new GroupCommit(server.store, {
    queueMax: 100,
    batchMaxBytes: 100,
    flushesMax: 1,
    onFlush: ({ operations }) => flushes.push(operations),
  });
  const sized = (name: string, bytes: number) => ({ ...read(name, () => order.push(name)), bytes });
  const sizes = [40, 40, 40, 500, 60, 10, 10];
  await Promise.all(sizes.map((bytes, n) => commits.submit(sized(`${n}`, bytes))));
  expect(flushes).toEqual([2, 1, 1, 3]);
  expect(order).toEqual(["0", "1", "2", "3", "4", "5", "6"]);
  await commits.close();
});

test("a flush that is too long for what stands before the database goes in parts", async () => {
  const wire = await openWire(server.databaseUrl);
  const behind = await startTestServer({ databaseUrl: wire.url, env: { PERDURE_NOTIFY: "off" } });
  try {
    wire.refuseLongerThan(1_500_000);
    const response = RawJson.of("x".repeat(700_000));
    const long = (key: string): Write<string> => ({
      name: key,
      intents: [],
      bytes: response.text.length,
      decide(work) {
        const ref = { namespace: "n", sender: "s", operation: "long", key, fingerprint: "f" };
        work.stageRecord({ ...ref, intentId: null, response });
        return key;
      },
    });
    const keys = Array.from({ length: 8 }, (_, n) => `${n}`);
    expect(await Promise.all(keys.map((key) => behind.engine.commits.submit(long(key))))).toEqual(keys);
    const { rows } = await server.store.pool.query(
      "select key from idempotency_keys where operation = 'long' order by key",
    );
    expect(rows.map((row) => row.key)).toEqual(keys);
  } finally {
    await behind.close();
    await wire.close();
  }
});

test("two servers writing to the same intents at once lose no event", async () => {
  const other = await startTestServer({ databaseUrl: server.databaseUrl });
  try {
    const id = await send(server, "conflict");
    await claimOne(server, "conflict");
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        post(n % 2 === 0 ? server : other, id, "progress", { attempt: 1, message: String(n) }),
      ),
    );
    expect(answers.every((answer) => answer.status === 200)).toBe(true);
    const key = { "idempotency-key": "both" };
    const body = { intent_type: "job.v1", to_agent: "both", payload: {} };
    const created = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        call(n % 2 === 0 ? server : other, "POST", "/v1/intents", body, key),
      ),
    );
    expect(new Set(created.map((answer) => answer.body.intent_id)).size).toBe(1);
    const events = await eventsOf(server, id);
    expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
    expect(events.filter((event) => event.event_type === "intent.progress")).toHaveLength(100);
  } finally {
    await other.close();
  }
});

test("while writers' connections are killed mid-commit, every acknowledged intent exists exactly once", async () => {
  const acknowledged = new Map<string, string>();
  let creating = true;
  const create = async (worker: number) => {
    for (let n = 0; n < 40; n += 1) {
      const key = `kill-${worker}-${n}`;
      const id = await until(
        `${key} is acknowledged`,
        async () => {
          const body = { intent_type: "job.v1", to_agent: "backend-kill", payload: { key } };
          const answer = await call(server, "POST", "/v1/intents", body, { "idempotency-key": key });
          return answer.status === 200 && (answer.body.intent_id as string);
        },
        20_000,
      );
      acknowledged.set(key, id);
    }
  };
  const killed = asAdmin(server.databaseUrl, async (admin) => {
    let count = 0;
    let next = 5;
    // One kill for every few acknowledgements: the loop moves at the pace of the work.
    while (creating) {
      const { rows } = await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where $1 and datname = current_database()
          and application_name = 'perdure' and pid <> pg_backend_pid() and xact_start is not null limit 1`,
        [acknowledged.size >= next],
      );
      if (rows.length > 0) next = acknowledged.size + 10;
      count += rows.length;
    }
    return count;
  });
  await Promise.all(Array.from({ length: 8 }, (_, worker) => create(worker))).finally(() => {
    creating = false;
  });
  expect(await killed).toBeGreaterThan(5);
  const { rows } = await server.store.pool.query(
    `select i.id, d.payload->>'key' as key, i.seq, (select count(*)::int from events e where e.intent_id = i.id) as events,
        (select count(*)::int from ready r where r.intent_id = i.id) as ready
      from intents i join intent_data d on d.id = i.id where i.to_agent like '%/backend-kill'`,
  );
  expect(new Map(rows.map((row) => [row.key, row.id]))).toEqual(acknowledged);
  expect(rows).toHaveLength(320);
  for (const row of rows) expect(row).toMatchObject({ events: row.seq, ready: 1 });
});

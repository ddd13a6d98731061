// perdure verify against a real database: silent after real work, and it says what is broken.
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../../server/cli/run.ts";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { openTerminal } from "../cli/terminal.ts";
import { claimOne, listen, post, send, step } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

let server: TestServer;
let whole: string;
beforeAll(async () => {
  server = await startTestServer({ env: { PERDURE_RECONNECT_GRACE_MS: "300" } });
  whole = await work();
});
afterAll(() => server.close());

/** A bit of everything; the id of an intent in the middle of it. */
async function work(): Promise<string> {
  const done = await send(server, "done", { steps: ["a", "b"] });
  await claimOne(server, "done");
  for (const key of ["a", "b"]) await step(server, done, key, { status: "done", attempt: 1, result: key });
  const retried = await send(server, "retried", { max_delivery_attempts: 1, steps: ["a"] });
  const listener = await listen(server, "retried", { consumer: "x", incarnation: "1" });
  await listener.next("intent.delivered");
  await post(server, retried, "start", { attempt: 1 });
  listener.cut();
  await until("the loss", async () => (await statusOf(retried)) === "FAILED");
  await post(server, retried, "retry");
  const paused = await send(server, "paused", { steps: ["a"] });
  await post(server, paused, "pause");
  await send(server, "later", {
    deliver_at: new Date(Date.now() + 3_600_000).toISOString(),
    ttl_seconds: 7_200,
  });
  const asked = await send(server, "asked", { steps: ["a"], on_interrupt: "ask" });
  await claimOne(server, "asked");
  await step(server, asked, "a", { status: "running", attempt: 1 });
  await post(server, asked, "release", { attempt: 1 });
  await crash();
  const held = await send(server, "held", { steps: ["a", "b"], attempt_timeout_seconds: 600 });
  await claimOne(server, "held", { consumer: "holder", lease_seconds: 600 });
  const state = [{ key: "cursor", value: 1 }];
  await step(server, held, "a", { status: "done", attempt: 1, result: 1, begin_next: true, state });
  for (const value of [1, 2]) await call(server, "PUT", "/v1/state/session:v/k", { value });
  await call(server, "DELETE", "/v1/state/session:v/k", {});
  // For no intent, and with a key all the same.
  await call(server, "PUT", "/v1/state/session:v/other", { value: 1 }, { "idempotency-key": "once" });
  return held;
}

/** An agent dies within a step; the next one is told, paused, hands back, goes on, and fails for good. */
async function crash(): Promise<void> {
  const id = await send(server, "crashed", { steps: ["a", "b"], retry: { max_retries: 1 } });
  const listener = await listen(server, "crashed", { consumer: "y", incarnation: "1", ack: "explicit" });
  await listener.next("intent.delivered");
  await post(server, id, "start", { attempt: 1 });
  listener.cut();
  const { attempt } = await claimOne(server, "crashed");
  await post(server, id, "start", { attempt });
  await post(server, id, "pause");
  await step(server, id, "a", { status: "done", attempt, result: { n: 1 } });
  await post(server, id, "unpause");
  const again = await claimOne(server, "crashed");
  await step(server, id, "b", { status: "running", attempt: again.attempt });
  await step(server, id, "b", { status: "done", attempt, result: "too late" });
  await post(server, id, "release", { attempt: again.attempt, not_run: ["b"] });
  const last = await claimOne(server, "crashed");
  await post(server, id, "resolve", {
    status: "FAILED",
    attempt: last.attempt,
    error: { code: "no", message: "no" },
  });
}

async function statusOf(id: string): Promise<string> {
  const { rows } = await server.store.pool.query("select status from intents where id = $1", [id]);
  return rows[0]?.status;
}

const found = async () => {
  const { violations } = await verifyDatabase(server.databaseUrl, { pageSize: 2 });
  return [...new Set(violations.map((one) => one.invariant))].sort();
};

test("finds nothing wrong after deliveries, crashes, redeliveries, retries, pauses, delays and questions", async () => {
  const progress: number[] = [];
  const verified = await verifyDatabase(server.databaseUrl, {
    pageSize: 2,
    onProgress: (done) => progress.push(done),
  });
  expect(verified.violations).toEqual([]);
  expect(verified.checked).toBe(7);
  expect(progress).toEqual([2, 4, 6, 7, 7]);
});

const DAMAGE: readonly [what: string, invariants: string[], sql: string][] = [
  ["a lost event", ["I2"], "delete from events where intent_id = $1 and seq = 2"],
  [
    "a log that ends elsewhere",
    ["I2", "I3"],
    "update intents set status = 'COMPLETED', consumer_id = null, open_steps = '{}' where id = $1",
  ],
  [
    "an outcome of a live intent",
    ["I3"],
    "insert into outcomes (intent_id, namespace, status, finished_at) values ($1, 'n', 'FAILED', now())",
  ],
  ["a forged attempt", ["I4", "I6"], "update intents set attempt = 7 where id = $1"],
  ["a changed result", ["I5"], "update steps set result = '\"forged\"' where intent_id = $1 and key = 'a'"],
  [
    "a result of the same value in other words",
    ["I5"],
    "update steps set result = '1.0' where intent_id = $1 and key = 'a'",
  ],
  ["a row behind its log", ["I2"], "update intents set seq = seq - 1 where id = $1"],
  ["a pause that nobody asked for", ["I16"], "update intents set paused = true where id = $1"],
  ["an open step that does not run", ["I13"], "update intents set open_steps = '{a,b}' where id = $1"],
  [
    "a holder that does not exist",
    ["I6"],
    "delete from consumers c using leases l where c.id = l.consumer_id and l.intent_id = $1",
  ],
  [
    "two entries in the queue",
    ["I7"],
    "insert into ready select to_agent, rank + 1, queue_at, intent_id, intent_type from ready where $1::uuid is not null limit 1",
  ],
  ["an intent that is gone", ["I1", "I2", "I5", "I6", "I7"], "delete from intents where id = $1"],
  ["a missing lease", ["I6"], "delete from leases where intent_id = $1"],
  [
    "a queue entry of a held intent",
    ["I7"],
    "insert into ready select to_agent, -priority, queue_at, id, intent_type from intents where id = $1",
  ],
  ["one that lives and is not listed so", ["I1"], "delete from live where intent_id = $1"],
  ["a missing timer", ["I7"], "delete from timers where intent_id = $1"],
  ["a wrong count of losses", ["I8"], "update intents set strikes = 2 where id = $1"],
  ["a step that runs nowhere", ["I13"], "update steps set attempt = 0 where intent_id = $1 and key = 'b'"],
  [
    "a lost version of state",
    ["I9"],
    "delete from state_versions where key = 'k' and version = 2 and $1::uuid is not null",
  ],
  [
    "a head of state that is not the last",
    ["I9"],
    "update state_heads set version = 1 where key = 'k' and $1::uuid is not null",
  ],
  ["a payload that is gone", ["I1"], "delete from intent_data where id = $1"],
  [
    "a key without its intent",
    ["I11"],
    "insert into idempotency_keys values ('n', 's', 'o', $1::text, 'f', gen_random_uuid(), '1', now())",
  ],
];

const TABLES = [
  "intents",
  "events",
  "outcomes",
  "steps",
  "leases",
  "ready",
  "timers",
  "live",
  "intent_data",
  "idempotency_keys",
  "consumers",
  "state_heads",
  "state_versions",
];

/** What `look` sees while the database is damaged; whole again afterwards. */
async function damaged<T>(sql: string, look: () => Promise<T>): Promise<T> {
  const client = await server.store.pool.connect();
  try {
    for (const table of TABLES)
      await client.query(`create temp table kept_${table} as select * from ${table}`);
    await client.query(sql, [whole]);
    return await look();
  } finally {
    for (const table of TABLES) {
      await client.query(`delete from ${table}`);
      await client.query(`insert into ${table} select * from kept_${table}`);
      await client.query(`drop table kept_${table}`);
    }
    client.release();
  }
}

test.each(DAMAGE)("sees %s (%s)", async (_what, invariants, sql) => {
  expect(await damaged(sql, found)).toEqual(expect.arrayContaining(invariants));
  expect(await found()).toEqual([]);
});

test("keeps a thousand violations, and counts them all", async () => {
  const copies = `insert into intents select (jsonb_populate_record(i, jsonb_build_object('id', gen_random_uuid()))).*
    from intents i, generate_series(1, 1100) where i.id = $1`;
  const { checked, violations, count } = await damaged(copies, () => verifyDatabase(server.databaseUrl));
  expect(checked).toBe(1_107);
  expect(violations).toHaveLength(1_000);
  expect(count).toBeGreaterThan(1_100);
});

test("the command says so, and its exit code too", async () => {
  const env = { DATABASE_URL: server.databaseUrl };
  const sound = openTerminal(env);
  expect(await runCli(["verify"], sound.io)).toBe(0);
  expect(sound.out).toBe("checked 7 intents: no violation\n");
  await server.store.pool.query("update intents set strikes = 1 where id = $1", [whole]);
  const broken = openTerminal(env);
  expect(await runCli(["verify"], broken.io)).toBe(1);
  expect(broken.out).toContain(`I8  ${whole}`);
  const json = openTerminal(env);
  expect(await runCli(["verify", "--json"], json.io)).toBe(1);
  expect(JSON.parse(json.out)).toMatchObject({
    ok: false,
    checked: 7,
    count: 1,
    violations: [{ invariant: "I8", intent_id: whole }],
  });
  await server.store.pool.query("update intents set strikes = 0 where id = $1", [whole]);
});

test("without a database the command says which one it looked for", async () => {
  const nowhere = openTerminal({ PERDURE_DATA_DIR: "/nonexistent/perdure" });
  expect(await runCli(["verify"], nowhere.io)).not.toBe(0);
  expect(nowhere.err).toContain("There is no database in /nonexistent/perdure");
});

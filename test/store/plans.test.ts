// What PostgreSQL makes of the statements that write. They are planned once, without looking at their values, so that what is shown here
// of an empty database holds for a full one.
import pg, { type PoolClient } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { claimOne, post, send, step } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { storeCopies } from "../support/stored.ts";

const STORED = 20_000;
/** What a list without an index sorts at most: of each kind that it looks at. */
const SORTED = 200;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: { PERDURE_SORT_MAX_INTENTS: String(SORTED) } });
});
afterAll(async () => {
  await server.close();
});

interface Prepared {
  name: string;
  statement: string;
  parameters: number;
  planned_anew: number;
}

const PREPARED = `select name, statement, cardinality(parameter_types) as parameters, custom_plans::int as planned_anew
  from pg_prepared_statements`;

/** A bit of everything that writes. */
async function work(): Promise<void> {
  const parent = await send(server, "plans", { session: "s" });
  const { attempt } = await claimOne(server, "plans");
  await post(server, parent, "start", { attempt, steps: [{ key: "a" }, { key: "b" }] });
  await step(server, parent, "a", {
    status: "done",
    attempt,
    result: 1,
    complete_intent: false,
    state: [{ key: "n", value: 1 }],
    begin_next: true,
  });
  await call(server, "PUT", `/v1/intents/${parent}/checkpoints/half`, { attempt });
  await post(server, parent, "signals/go", { data: 1 });
  await step(server, parent, "go", { status: "waiting", attempt, wait: { signal: "go" } });
  await step(server, parent, "ask", {
    status: "waiting",
    attempt,
    wait: { human_task: { title: "Go on?" } },
  });
  await post(server, parent, "restore", { to: "half" });
  await post(server, parent, "cancel", {});
}

async function withDatabase(use: (db: pg.Client) => Promise<void>): Promise<void> {
  const db = new pg.Client({ connectionString: server.databaseUrl });
  await db.connect();
  await use(db).finally(() => db.end());
}

async function endedIntent(): Promise<string> {
  const id = await send(server, "plans-ended", { steps: ["a", "b", "c", "d"] });
  const { attempt } = await claimOne(server, "plans-ended");
  await post(server, id, "resolve", { status: "COMPLETED", attempt, result: { ok: true } });
  return id;
}

const planOf = async (client: PoolClient, { name, parameters }: Prepared): Promise<string> => {
  const nulls = parameters === 0 ? "" : `(${Array(parameters).fill("null").join(", ")})`;
  const { rows } = await client.query<{ "QUERY PLAN": string }>(`explain execute "${name}"${nulls}`);
  return rows.map((row) => row["QUERY PLAN"]).join("\n");
};

/** The plans that the connections which write have made, by statement. */
async function plansOfWrites(): Promise<Map<string, { plan: string; statement: string; anew: number }>> {
  const plans = new Map<string, { plan: string; statement: string; anew: number }>();
  for (const pool of [server.store.writers, server.store.transactors]) {
    const clients = await Promise.all(Array.from({ length: pool.totalCount }, () => pool.connect()));
    try {
      for (const client of clients) {
        const { rows } = await client.query<Prepared>(PREPARED);
        for (const prepared of rows)
          plans.set(prepared.name, {
            plan: await planOf(client, prepared),
            statement: prepared.statement,
            anew: prepared.planned_anew,
          });
      }
    } finally {
      for (const client of clients) client.release();
    }
  }
  return plans;
}

const noScan = (plan: string, statement: string) =>
  expect(plan.replaceAll("Seq Scan on replicas", ""), statement).not.toContain("Seq Scan");
/** An index read from end to end is no better. */
const WHOLE_INDEX = /Index (?:Only )?Scan .*\n(?!\s+Index Cond)/;
/** Their rows come and go: of whoever reads them to the end, however few they are, the dead ones are read, too. */
const WHOLE_QUEUE =
  /Index (?:Only )?Scan using \S+ on (?:ready|leases|timers|live|outbox|human_tasks|signals)\b.*\n(?!\s+Index Cond)/;

test("an intent that is asked for again and again is planned at first only", async () => {
  const id = await send(server, "plans-read");
  // So often that one connection at least has had it more than five times.
  const often = 5 * server.store.pool.options.max + 1;
  for (let asked = 0; asked < often; asked += 1)
    expect((await call(server, "GET", `/v1/intents/${id}`)).status).toBe(200);
  const clients = await Promise.all(
    Array.from({ length: server.store.pool.totalCount }, () => server.store.pool.connect()),
  );
  try {
    let kept = 0;
    for (const client of clients) {
      const { rows } = await client.query<{ anew: number; kept: number }>(
        `select custom_plans::int as anew, generic_plans::int as kept from pg_prepared_statements where name = 'intent_by_id'`,
      );
      for (const row of rows) {
        expect(row.anew).toBeLessThanOrEqual(5);
        kept += row.kept;
      }
    }
    expect(kept).toBeGreaterThan(0);
  } finally {
    for (const client of clients) client.release();
  }
});

test("every statement that writes finds its rows by an index, and is planned once", async () => {
  for (let round = 0; round < 3; round += 1) await work();
  const plans = await plansOfWrites();
  expect(plans.size).toBeGreaterThan(25);
  for (const { plan, statement, anew } of plans.values()) {
    expect(anew, statement).toBe(0);
    noScan(plan, statement);
    expect(plan, statement).not.toMatch(WHOLE_INDEX);
  }
});

test("they still do when many intents have ended and vacuum has found the queues empty", async () => {
  await withDatabase(async (db) => {
    await storeCopies(db, { of: await endedIntent(), count: STORED, withLogEvery: 10 });
    await db.query(
      "insert into timers select id, now() + interval '1 day' from intent_data on conflict do nothing",
    );
    await db.query("vacuum (analyze)");
  });
  for (let round = 0; round < 2; round += 1) await work();
  for (const { plan, statement } of (await plansOfWrites()).values()) {
    noScan(plan, statement);
    expect(plan, statement).not.toMatch(WHOLE_QUEUE);
  }
});

/** Rows and index entries that were read on behalf of `look`. */
async function rowsRead(look: () => Promise<void>): Promise<number> {
  const { pool } = server.store;
  const count = async () => {
    const clients = await Promise.all(Array.from({ length: pool.totalCount }, () => pool.connect()));
    try {
      for (const client of clients) await client.query("select pg_stat_force_next_flush()");
      for (const client of clients) await client.query("select 1");
    } finally {
      for (const client of clients) client.release();
    }
    const { rows } = await pool.query(`select (sum(idx_tup_read) +
      (select sum(seq_tup_read) from pg_stat_user_tables where relname <> 'replicas'))::int as n from pg_stat_user_indexes`);
    return Number(rows[0].n);
  };
  const before = await count();
  await look();
  return (await count()) - before;
}

const LISTS = [
  "limit=20",
  "limit=20&status=COMPLETED",
  "limit=20&status=FAILED",
  "limit=20&status=IN_PROGRESS",
  "limit=20&status=WAITING,SUBMITTED",
  "limit=20&paused=true",
  "limit=20&to_agent=plans",
  "limit=20&to_agent=plans&status=DELIVERED",
  "limit=20&session=nobody",
  "limit=20&order=recently_changed",
  "limit=20&order=recently_changed&status=COMPLETED",
  "limit=20&order=recently_changed&to_agent=plans",
  "limit=20&order=longest_unchanged",
  "limit=20&order=priority",
  "limit=20&order=priority&status=COMPLETED",
  "limit=20&order=deadline",
];
const PAGES = [
  ...LISTS.map((query) => `/v1/intents?${query}`),
  "/v1/agents",
  "/v1/me/tasks",
  "/v1/inbox?owner_agent=plans",
  "/v1/sessions",
];

test.each(PAGES)("%s reads few rows, however many intents have ended", async (path) => {
  const read = await rowsRead(async () => {
    expect((await call(server, "GET", path)).status).toBe(200);
  });
  expect(read).toBeLessThan(STORED / 10);
});

const WORKERS = ["pulse", "timers", "leases", "renewals", "outbox", "retention", "housekeeping"] as const;

test.each(WORKERS)("%s reads few rows, too", async (worker) => {
  const read = await rowsRead(async () => {
    await server.sweepers[worker].tick();
  });
  expect(read).toBeLessThan(STORED / 10);
});

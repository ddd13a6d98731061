// A database that hardly gets anything done: what waits for it stays bounded, everybody else is told when to come again, and nothing of
// it is left behind afterwards.
import pg from "pg";
import { afterEach, expect, test } from "vitest";
import { type Answer, call, startTestServer, type TestServer, until } from "../support/server.ts";

const QUEUE_MAX = 20;
const KIB = 1_024;

let server: TestServer;
let slow: pg.Client | undefined;
afterEach(async () => {
  await slow?.end();
  await server.close();
});

/** No commit gets past it until it is released. */
async function holdCommits(): Promise<() => Promise<void>> {
  slow = new pg.Client({ connectionString: server.databaseUrl });
  await slow.connect();
  await slow.query("begin; lock table events in share mode");
  return async () => {
    await slow?.query("rollback");
  };
}

const start = (env: Readonly<Record<string, string>>) =>
  startTestServer({
    // The database is slow, not away: nobody is to give up before it does.
    env: {
      PERDURE_DB_LOCK_TIMEOUT_MS: "50000",
      PERDURE_DB_QUERY_TIMEOUT_MS: "60000",
      PERDURE_DB_IDLE_TRANSACTION_MS: "60000",
      ...env,
    },
  });

const create = (bytes: number) =>
  call(server, "POST", "/v1/intents", {
    intent_type: "job.v1",
    to_agent: "nobody",
    payload: { filler: "x".repeat(bytes) },
  });

/** Sends them all at once; what has been answered so far can be looked at. */
function sendMany(count: number, bytes: number) {
  const answered: Answer[] = [];
  const all = Promise.all(
    Array.from({ length: count }, async () => {
      const answer = await create(bytes);
      answered.push(answer);
      return answer;
    }),
  );
  return { answered, all };
}

async function expectHealthy(answers: readonly Answer[]): Promise<void> {
  const accepted = answers.filter(({ status }) => status === 200);
  const { rows } = await server.store.pool.query("select count(*)::int as n from intents");
  expect(rows[0]).toEqual({ n: accepted.length });
  expect(server.engine.commits.waiting).toBe(0);
  expect((await create(1)).status).toBe(200);
}

function expectRefused({ status, headers, body }: Answer): void {
  expect(status).toBe(503);
  expect(headers.get("retry-after")).toMatch(/^\d+$/);
  expect(body).toMatchObject({ code: "unavailable", retryable: true });
}

test("with a slow database no more than the queue holds waits, and everybody else is sent away at once", async () => {
  server = await start({ PERDURE_QUEUE_MAX: String(QUEUE_MAX) });
  const release = await holdCommits();
  // Two flushes are under way from here on: whoever comes has to wait.
  const first = sendMany(1, 1);
  await until("the first commit waits", async () => (await blocked()) >= 1);
  const second = sendMany(1, 1);
  await until("the second commit waits", async () => (await blocked()) >= 2);
  const rest = sendMany(10 * QUEUE_MAX, KIB);
  await until("the others are refused", () => rest.answered.length === 9 * QUEUE_MAX);
  for (const answer of rest.answered) expectRefused(answer);
  expect(server.engine.commits.waiting).toBe(QUEUE_MAX);
  await release();
  await expectHealthy((await Promise.all([first.all, second.all, rest.all])).flat());
});

test("what waits for a slow database holds no more bytes than it may", async () => {
  server = await start({ PERDURE_QUEUE_MAX_BYTES: String(KIB * KIB) });
  const release = await holdCommits();
  const { answered, all } = sendMany(50, 200 * KIB);
  await until("those beyond a mebibyte are refused", () => answered.length >= 45);
  for (const answer of answered) expectRefused(answer);
  await release();
  const answers = await all;
  expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
  await expectHealthy(answers);
});

async function blocked(): Promise<number> {
  const { rows } = await server.store.pool.query(
    `select count(*)::int as n from pg_locks where relation = 'events'::regclass and not granted
      and database = (select oid from pg_database where datname = current_database())`,
  );
  return rows[0].n;
}

// A batch is all or nothing, whatever happens to the connection under it (I9).
import pg from "pg";
import { expect, test } from "vitest";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { call, startTestServer } from "../support/server.ts";

const KEYS = ["a", "b", "c", "d", "e"];
const BATCHES = 60;

test("batches whose connections are killed in the middle are written as a whole, once, or not at all", async () => {
  const server = await startTestServer();
  const killer = new pg.Client({ connectionString: server.databaseUrl });
  await killer.connect();
  // Whoever is in the middle of something just now.
  const kill = () =>
    killer.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'`,
    );
  const acknowledged: number[] = [];
  for (let n = 0; n < BATCHES; n += 1) {
    const writes = KEYS.map((key) => ({ scope: "session:faults", key, value: n }));
    const key = { "idempotency-key": `batch-${n}` };
    const commit = call(server, "POST", "/v1/state/commit", { writes }, key);
    for (let kills = 0; kills < n % 4; kills += 1) await kill();
    const answer = await commit;
    if (answer.status === 200) acknowledged.push(n);
    else expect(answer.status, JSON.stringify(answer.body)).toBe(503);
  }
  await killer.end();
  const { rows } = await server.store.pool.query<{ version: number; values: number[] }>(
    `select version, array_agg(distinct value::text::int) as values from state_versions
      where scope = 'session:faults' group by version order by version`,
  );
  expect(rows.every((row) => row.values.length === 1)).toBe(true);
  const written = rows.map((row) => row.values[0] ?? -1);
  expect(new Set(written).size).toBe(written.length);
  expect(written).toEqual(expect.arrayContaining(acknowledged));
  expect((await verifyDatabase(server.databaseUrl)).violations).toEqual([]);
  await server.close();
});

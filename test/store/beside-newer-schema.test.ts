// A server that works on while a newer one changes the schema beside it: columns come, and what it had prepared for the old ones is made anew.
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { claimOne, post, send, step, view } from "../delivery/listener.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let database: TestDatabase;
let server: TestServer;
let client: pg.Client;
beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer({ databaseUrl: database.url });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await server.close();
  await database.drop();
});

/** An intent from its create to its end, by way of every table that has rows of it. */
async function oneOfEach(address: string): Promise<void> {
  const id = await send(server, address, { steps: ["a", "b"] });
  const { attempt } = await claimOne(server, address);
  await post(server, id, "start", { attempt });
  await step(server, id, "a", { status: "done", attempt, result: 1, begin_next: true });
  const last = await step(server, id, "b", { status: "done", attempt, result: 2 });
  expect(last.status).toBe(200);
  expect((await view(server, id)).status).toBe("COMPLETED");
}

test("a column that a newer server adds to any table costs an older one no request", async () => {
  // Several times over, so that every connection of the pool has prepared its statements.
  await Promise.all(Array.from({ length: 20 }, (_, n) => oneOfEach(`before-${n}`)));
  const { rows } = await client.query<{ name: string }>(
    "select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
  );
  for (const { name } of rows) await client.query(`alter table ${name} add column newer integer default 1`);
  await Promise.all(Array.from({ length: 20 }, (_, n) => oneOfEach(`after-${n}`)));
});

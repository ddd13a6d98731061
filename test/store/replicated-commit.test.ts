// With a synchronous standby an answer means that two have it. A commit that is cut off while it waits for the standby is in sight of
// everybody, and only here: it is not answered for before the standby has it too.
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { migrate } from "../../server/store/migrate.ts";
import { adoptDatabase, forgetDatabase } from "../faults/reaper.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

let home: string;
let postgres: EmbeddedPostgres;
let server: TestServer;
let superuser: pg.Client;
beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "perdure-replicated-"));
  chmodSync(directory, 0o711);
  postgres = await startEmbeddedPostgres({ dataDir: directory, settings: { fsync: "off" } });
  home = postgres.dataDir;
  adoptDatabase(home, [home, directory]);
  await migrate(postgres.url);
  server = await startTestServer({ databaseUrl: postgres.url });
  const url = new URL(postgres.url);
  url.username = "postgres";
  superuser = new pg.Client({ connectionString: url.href });
  await superuser.connect();
});
afterAll(async () => {
  await superuser.end();
  await server.close();
  await postgres.stop();
  rmSync(home, { recursive: true, force: true });
  forgetDatabase(home);
});

async function waitForStandby(name: string): Promise<void> {
  await superuser.query(`alter system set synchronous_standby_names = '${name}'`);
  await superuser.query("select pg_reload_conf()");
}

const create = () =>
  call(
    server,
    "POST",
    "/v1/intents",
    { intent_type: "job.v1", to_agent: "somebody" },
    { "idempotency-key": "once" },
  );

test("a commit that was cut off while it waited for its standby is not answered for", async () => {
  await waitForStandby("nobody");
  let settled = false;
  const first = create().finally(() => {
    settled = true;
  });
  await until(
    "it is answered, however often commits are cut off",
    async () => {
      await superuser.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'",
      );
      return settled;
    },
    60_000,
  );
  const refused = await first;
  await waitForStandby("");
  expect(refused).toMatchObject({ status: 503, body: { code: "unavailable" } });
  const second = await until("there is a word", async () => {
    const again = await create();
    return again.status === 200 ? again : undefined;
  });
  expect(second.body.intent_id).toBeDefined();
  const intents = await server.store.pool.query("select id from intents");
  expect(intents.rows).toEqual([{ id: second.body.intent_id }]);
});

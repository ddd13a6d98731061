// Behind one address there may be another PostgreSQL than before: a standby that took over, a backup that was restored. What a server
// remembers of the one before is not true of it, even where its row has the very same transaction, seq and time.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { migrate } from "../../server/store/migrate.ts";
import { claimOne, send } from "../delivery/listener.ts";
import { type FaultProxy, openProxy } from "../faults/proxy.ts";
import { adoptDatabase, forgetDatabase } from "../faults/reaper.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

// Nobody else takes a transaction id.
const QUIET = { fsync: "off", autovacuum: "off" };
let directory: string;
let first: EmbeddedPostgres;
let copy: EmbeddedPostgres;
let wire: FaultProxy;
let server: TestServer;
const homes: string[] = [];

async function open(name: string): Promise<EmbeddedPostgres> {
  const dataDir = join(directory, name);
  const postgres = await startEmbeddedPostgres({ dataDir, settings: QUIET });
  adoptDatabase(postgres.dataDir, [postgres.dataDir, directory]);
  homes.push(postgres.dataDir);
  return postgres;
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "perdure-another-"));
  // As root, PostgreSQL runs as another user, who has to be able to enter.
  chmodSync(directory, 0o711);
  const made = await open("first");
  await migrate(made.url);
  await made.stop();
  execFileSync("cp", ["-a", made.dataDir, join(directory, "copy")]);
  copy = await open("copy");
  first = await open("first");
  wire = await openProxy(targetOf(first));
  const through = new URL(first.url);
  through.port = String(wire.port);
  server = await startTestServer({ databaseUrl: through.href });
});
afterEach(async () => {
  await server.close();
  await wire.close();
  await Promise.all([first.stop(), copy.stop()]);
  for (const home of homes.splice(0)) {
    rmSync(home, { recursive: true, force: true });
    forgetDatabase(home);
  }
  rmSync(directory, { recursive: true, force: true });
});

const targetOf = ({ url }: EmbeddedPostgres) => ({ host: "127.0.0.1", port: Number(new URL(url).port) });

async function ask<Row extends pg.QueryResultRow>(
  { url }: EmbeddedPostgres,
  use: (client: pg.Client) => Promise<Row[]>,
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

interface Stored extends pg.QueryResultRow {
  readonly xid: string;
  readonly seq: number;
  readonly row: string;
}

const stored = (postgres: EmbeddedPostgres, id: string) =>
  ask<Stored>(
    postgres,
    async (client) =>
      (
        await client.query<Stored>(
          "select xmin::text as xid, seq, to_json(i)::text as row from intents i where id = $1",
          [id],
        )
      ).rows,
  );

/** The same row in the copy, by a transaction of the same id, but held by a later attempt. */
async function writeAlike(id: string, { row, xid }: Stored): Promise<void> {
  await ask(copy, async (client) => {
    for (;;) {
      await client.query("begin");
      const { rows } = await client.query("select pg_current_xact_id()::text as xid");
      const mine = Number(rows[0]?.xid);
      expect(mine).toBeLessThanOrEqual(Number(xid));
      if (mine === Number(xid)) break;
      await client.query("rollback");
    }
    await client.query("insert into intents select * from json_populate_record(null::intents, $1)", [row]);
    await client.query("update intents set attempt = 7 where id = $1", [id]);
    await client.query("commit");
    return [];
  });
}

test("a row of another PostgreSQL is not taken for the one that was written before", async () => {
  const id = await send(server, "elsewhere");
  await claimOne(server, "elsewhere");
  const [before] = await stored(first, id);
  if (before === undefined) throw new Error("it is not stored");
  expect(server.store.hotRows.find(id, [])).toBeDefined();
  await writeAlike(id, before);
  expect((await stored(copy, id)).map(({ xid, seq }) => ({ xid, seq }))).toEqual([
    { xid: before.xid, seq: before.seq },
  ]);

  // What is open stays where it is; no connection breaks that would tell of the change.
  const held = await Promise.all(
    Array.from({ length: server.store.writers.idleCount }, () => server.store.writers.connect()),
  );
  wire.target = targetOf(copy);
  const { body } = await call(server, "POST", `/v1/intents/${id}/start`, { attempt: 1 });
  for (const client of held) client.release();
  expect(body).toMatchObject({ code: "stale_attempt", error: { details: { current_attempt: 7 } } });
});

// Bringing a database to this build's schema: once, whoever starts; never over what this build does not know.
import { afterEach, beforeEach, expect, test } from "vitest";
import { EVENT_TYPES } from "../../server/domain/event.ts";
import { ON_INTERRUPT } from "../../server/domain/intent.ts";
import { STATUSES, TERMINAL_STATUSES, WAITING_REASONS } from "../../server/domain/lifecycle.ts";
import { migrate, readMigrations, SchemaError } from "../../server/store/migrate.ts";
import { asAdmin, createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { until } from "../support/until.ts";

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

const sql = (text: string, values: unknown[] = []) =>
  asAdmin(database.url, async (client) => (await client.query(text, values)).rows);

test("several servers that start at once on an empty database migrate it once", async () => {
  await sql("drop schema public cascade; create schema public");
  const names = readMigrations().map((migration) => migration.name);
  const applied = await Promise.all(Array.from({ length: 5 }, () => migrate(database.url)));
  expect(applied.flat().sort()).toEqual(names);
  expect(await migrate(database.url)).toEqual([]);
});

test("a schema newer than this build is refused and left alone", async () => {
  await sql("insert into perdure_migrations (name, checksum) values ('9999_future', 'x')");
  await expect(migrate(database.url)).rejects.toThrow(SchemaError);
  await expect(migrate(database.url)).rejects.toThrow(/9999_future/);
});

test("a migration that was changed after it was applied is refused", async () => {
  await sql("update perdure_migrations set checksum = 'other' where name like '0001%'");
  await expect(migrate(database.url)).rejects.toThrow(/changed after it was applied/);
});

/** The texts that the check of a table, which calls a function, allows in a column. */
async function allowed(table: string, column: string): Promise<string[]> {
  const rows = await sql(
    `select p.prosrc as source from pg_constraint c
      join pg_depend d on d.classid = 'pg_constraint'::regclass and d.objid = c.oid and d.refclassid = 'pg_proc'::regclass
      join pg_proc p on p.oid = d.refobjid where c.contype = 'c' and c.conrelid = $1::regclass`,
    [table],
  );
  const listed = new RegExp(`\\b${column} in \\(([^)]*)\\)`);
  return rows.flatMap((row) =>
    [...(listed.exec(String(row.source))?.[1] ?? "").matchAll(/'([^']*)'/g)].map(
      (match) => match[1] as string,
    ),
  );
}

test("what the database allows is exactly what the domain knows", async () => {
  const sorted = (list: readonly string[]) => [...list].sort();
  expect(sorted(await allowed("intents", "status"))).toEqual(sorted(STATUSES));
  expect(sorted(await allowed("intents", "waiting_reason"))).toEqual(sorted(WAITING_REASONS));
  expect(sorted(await allowed("intents", "on_interrupt"))).toEqual(sorted(ON_INTERRUPT));
  expect(sorted(await allowed("steps", "on_interrupt"))).toEqual(sorted(ON_INTERRUPT));
  expect(sorted(await allowed("outcomes", "status"))).toEqual(sorted(TERMINAL_STATUSES));
  expect(sorted(await allowed("events", "type"))).toEqual(sorted(EVENT_TYPES));
});

test("a row that the domain does not know is refused by the database itself", async () => {
  const refused = { code: "23514" };
  const event = (type: string, seq: number) =>
    sql(
      `insert into events (intent_id, seq, namespace, type, status, attempt, actor, at)
        values (gen_random_uuid(), $2, 'a/b', $1, 'SUBMITTED', 0, 'me', now())`,
      [type, seq],
    );
  await event("intent.created", 1);
  await expect(event("intent.invented", 1)).rejects.toMatchObject(refused);
  await expect(event("intent.created", 0)).rejects.toMatchObject(refused);
  const intent = (status: string, changed: Record<string, unknown> = {}) => {
    const row = { ...INTENT, status, ...changed };
    const names = Object.keys(row);
    return sql(
      `insert into intents (id, ${names.join(", ")}) values (gen_random_uuid(), ${names.map((_, i) => `$${i + 1}`).join(", ")})`,
      Object.values(row),
    );
  };
  await intent("SUBMITTED");
  await intent("WAITING", { waiting_reason: "WAITING_FOR_TOOL" });
  await intent("SUBMITTED", { plan_by: "agent", on_interrupt: "ask", keep_versions: 1 });
  for (const [status, changed] of [
    ["INVENTED", {}],
    ["WAITING", {}],
    ["WAITING", { waiting_reason: "WAITING_FOR_GODOT" }],
    ["SUBMITTED", { waiting_reason: "WAITING_FOR_TOOL" }],
    ["SUBMITTED", { consumer_id: "01900000-0000-7000-8000-000000000000" }],
    ["SUBMITTED", { strikes: 4 }],
    ["SUBMITTED", { max_delivery_attempts: 0 }],
    ["SUBMITTED", { plan_by: "nobody" }],
    ["SUBMITTED", { on_interrupt: "shrug" }],
    ["SUBMITTED", { keep_versions: 0 }],
  ] as const)
    await expect(intent(status, changed), JSON.stringify([status, changed])).rejects.toMatchObject(refused);
});

const INTENT = {
  ...{ namespace: "a/b", to_agent: "a/b/c", intent_type: "t.v1", priority: 0, open_steps: [], paused: false },
  ...{
    seq: 1,
    attempt: 0,
    generation: 0,
    started: false,
    strikes: 0,
    total_losses: 0,
    retries_used: 0,
    releases: 0,
  },
  ...{
    plan_cursor: 0,
    steps_count: 0,
    steps_total: 0,
    steps_done: 0,
    refused_attempt: 0,
    max_delivery_attempts: 3,
  },
  ...{ queue_at: new Date(), created_at: new Date(), updated_at: new Date() },
};

const RUNNING = "11111111-1111-4111-8111-111111111111";
/** As a version of before left it: without the list of what lives, which its servers would not fill. */
const BEFORE_LIVE = `drop table live; drop index intents_paused, intent_data_newest;
  delete from perdure_migrations where name = '0009_live'`;
const pulse = (ago: string) =>
  sql(
    `insert into replicas values ($1, perdure_now(), perdure_now() - $2::interval)
      on conflict (id) do update set pulsed_at = excluded.pulsed_at`,
    [RUNNING, ago],
  );

test("a change that older servers cannot live beside is refused while one of them works, and leaves all as it was", async () => {
  await sql(BEFORE_LIVE);
  await pulse("-1 hour");
  const waits: number[] = [];
  const refused = migrate(database.url, { silentMs: 50, onWait: (others) => waits.push(others) });
  await expect(refused).rejects.toThrow(/0009_live cannot be made while older servers work.*stop them all/);
  expect(waits).toEqual([1]);
  expect(await sql("select to_regclass('live') as live")).toEqual([{ live: null }]);
});

test("a server that was stopped while it is waited for, or killed before, is no longer in the way", async () => {
  await sql(BEFORE_LIVE);
  await pulse("-1 hour");
  const onWait = () => void sql("delete from replicas");
  expect(await migrate(database.url, { silentMs: 30_000, onWait })).toEqual(["0009_live"]);
  await sql(BEFORE_LIVE);
  await pulse("20 seconds");
  expect(await migrate(database.url)).toEqual(["0009_live"]);
});

test("every other change goes on beside servers at work, also when they lock its tables in another order", async () => {
  await sql(`drop function perdure_is_event, perdure_is_intent, perdure_is_step, perdure_is_end cascade;
    alter table events add constraint events_type_check check (type <> ''), add constraint events_seq_check check (seq >= 1);
    alter table intents add constraint intents_check check (true), add constraint intents_check1 check (true),
      add constraint intents_check2 check (true), add constraint intents_keep_versions_check check (true),
      add constraint intents_max_delivery_attempts_check check (true), add constraint intents_on_interrupt_check check (true),
      add constraint intents_plan_by_check check (true), add constraint intents_status_check check (true),
      add constraint intents_waiting_reason_check check (true);
    alter table steps add constraint steps_status_check check (true), add constraint steps_on_interrupt_check check (true);
    alter table outcomes add constraint outcomes_status_check check (true);
    delete from perdure_migrations where name = '0010_checks'`);
  await pulse("-1 hour");
  await asAdmin(database.url, async (worker) => {
    await worker.query("begin");
    await worker.query("lock table intents in row exclusive mode");
    // The migration has the events by now, and waits for the intents.
    const migrated = migrate(database.url);
    await until("the migration waits", async () => {
      const waiting = await sql(
        "select 1 from pg_locks where not granted and relation = 'intents'::regclass and database = (select oid from pg_database where datname = current_database())",
      );
      return waiting.length > 0;
    });
    // One of the two is told of the deadlock; whoever it is goes on.
    await worker.query("lock table events in row exclusive mode").catch(() => undefined);
    await worker.query("rollback");
    expect(await migrated).toEqual(["0010_checks"]);
  });
});

// Bringing a database to this build's schema: once, whoever starts; never over what this build does not know.
import { afterEach, beforeEach, expect, test } from "vitest";
import { EVENT_TYPES } from "../../server/domain/event.ts";
import { ON_INTERRUPT } from "../../server/domain/intent.ts";
import { STATUSES, TERMINAL_STATUSES, WAITING_REASONS } from "../../server/domain/lifecycle.ts";
import { migrate, readMigrations, SchemaError } from "../../server/store/migrate.ts";
import { asAdmin, createTestDatabase, type TestDatabase } from "../support/postgres.ts";

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

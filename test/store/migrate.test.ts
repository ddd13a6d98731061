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

/** The texts that a column's CHECK allows. */
async function allowed(table: string, column: string): Promise<string[]> {
  const rows = await sql(
    `select pg_get_constraintdef(c.oid) as definition from pg_constraint c
      join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)
      where c.contype = 'c' and c.conrelid = $1::regclass and a.attname = $2 and cardinality(c.conkey) = 1`,
    [table, column],
  );
  return rows.flatMap((row) =>
    [...String(row.definition).matchAll(/'([^']*)'::text/g)].map((match) => match[1] as string),
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

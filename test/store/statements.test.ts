// Every statement of the write path has a form for a few rows and one for many: what they leave in the tables is the same.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { PgType } from "../../server/store/binary.ts";
import * as all from "../../server/store/statements.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

type AnyRow = Readonly<Record<string, unknown>>;
type AnyStatement = all.Statement<AnyRow>;

const isStatement = (exported: unknown): exported is AnyStatement =>
  typeof exported === "object" && exported !== null && "few" in exported && "many" in exported;
const statements = new Map(
  Object.values(all as Record<string, unknown>)
    .filter(isStatement)
    .map((statement) => [statement.many.name, statement]),
);
/** They need what others wrote, and the last ones take it away again. */
const isInsert = (name: string) => /_(?:insert|upsert)$/.test(name);
const isDelete = (name: string) => /_(?:delete|prune)$/.test(name);
const names = [...statements.keys()];
const PHASES = [
  names.filter(isInsert),
  names.filter((name) => !isInsert(name) && !isDelete(name)),
  names.filter(isDelete),
];

const uuidOf = (number: number, column: string) =>
  `01900000-0000-7000-8000-${(number + (column === "consumer_id" ? 500 : 0)).toString(16).padStart(12, "0")}`;
const AWKWARD = ["", "plain", `quotes ' " \\ {} , null`, "ä€😀 and a line\nbreak", "long ".repeat(20)];
const textOf = (number: number, column: string) => `${AWKWARD[number % AWKWARD.length]}${column}${number}`;
const MAKE: { readonly [T in PgType]: (number: number, column: string) => unknown } = {
  uuid: uuidOf,
  text: (number, column) => textOf(number, column),
  int4: (number) => number + 1,
  int8: (number) => (number % 2 === 0 ? Number.MAX_SAFE_INTEGER - number : -number - 5_000_000_000),
  bool: (number) => number % 2 === 1,
  timestamptz: (number) => 1_700_000_000_123 + number,
  json: (number, column) => JSON.stringify({ [textOf(number, column)]: "ö".repeat(number * 50) }),
  jsonb: (number, column) => JSON.stringify([textOf(number, column), null]),
};
/** What the tables accept only some values of; null wherever they may have none, for some. */
const GIVEN: Readonly<Record<string, (number: number, statement: string) => unknown>> = {
  status: (_, statement) =>
    ({ outcomes: "FAILED", steps: "done" })[statement.split("_")[0] ?? ""] ?? "SUBMITTED",
  type: () => "intent.step_done",
  kind: () => "cascade",
  plan_by: (number) => (number % 2 === 0 ? "agent" : null),
  on_interrupt: (number) => (number % 2 === 0 ? null : "ask"),
  open_steps: (number) => ["{}", '{"a,b","c\\"d"}'][number % 2],
  paused_by: () => "{}",
  max_delivery_attempts: () => 1_000,
  attempt: (number) => (number % 2 === 0 ? 7 : 8),
  consumer_id: (number, statement) =>
    statement.startsWith("intents") ? null : uuidOf(number, "consumer_id"),
  waiting_reason: () => null,
  wait: () => null,
  error: () => null,
  taken_by: (number, statement) => (statement === "signals_insert" ? null : textOf(number, "taken_by")),
  keep: () => 0,
  seq_before: (number) => number + 1,
};

const rowOf = ({ columns, many }: AnyStatement, number: number): AnyRow =>
  Object.fromEntries(
    columns.map(({ name, type }) => [
      name,
      (GIVEN[name] ?? MAKE[type])(number, GIVEN[name] ? many.name : name),
    ]),
  );
const plain = (statement: AnyStatement): AnyStatement => ({
  ...statement,
  columns: statement.columns.map((column) => ({ ...column, get: (row: AnyRow) => row[column.name] })),
});

const TABLES = [
  "intents",
  "intent_data",
  "events",
  "steps",
  "outcomes",
  "ready",
  "leases",
  "timers",
  "live",
  "state_versions",
  "state_heads",
  "signals",
  "human_tasks",
  "outbox",
  "idempotency_keys",
];
/** What every writing of a row gives a new number. */
const NUMBERED = /"(?:id|no)":\d+,?/g;

/** Everything that is stored after each phase, in a transaction that is undone. */
async function write(
  count: number,
  choose: (statement: AnyStatement) => AnyStatement,
): Promise<{ readonly stored: string[]; readonly used: Set<string> }> {
  const client = await server.store.writers.connect();
  const stored: string[] = [];
  const used = new Set<string>();
  try {
    await client.query("begin");
    for (const phase of PHASES) {
      for (const name of phase) {
        const statement = statements.get(name) as AnyStatement;
        const rows = Array.from({ length: count }, (_, number) => rowOf(statement, number));
        const bound = all.bind(choose(plain(statement)), rows);
        used.add(bound.name);
        await client.query(bound);
      }
      for (const table of TABLES) {
        const { rows } = await client.query<{ row: string }>(
          `select to_json(t)::text as row from ${table} t order by 1`,
        );
        const numbered = table === "leases" || table === "outbox";
        const texts = rows.map(({ row }) => (numbered ? row.replace(NUMBERED, "") : row));
        stored.push(`${table}: ${texts.join("\n")}`);
      }
    }
  } finally {
    await client.query("rollback");
    client.release();
  }
  return { stored, used };
}

test.each([1, 2, 3, 4])("%i rows are written as values as they are written as arrays", async (count) => {
  const few = await write(count, (statement) => statement);
  const many = await write(count, (statement) => ({ ...statement, few: [] }));
  expect(few.stored).toEqual(many.stored);
  expect(few.used).toEqual(new Set(names.map((name) => `${name}_${count}`)));
  expect(many.used).toEqual(new Set(names));
  for (const text of few.stored.slice(0, TABLES.length)) expect(text).toMatch(/: ./);
});

test("more rows than a few go as arrays, by a statement that is the same for all numbers of them", async () => {
  const five = await write(5, (statement) => statement);
  const nine = await write(9, (statement) => statement);
  expect(five.used).toEqual(nine.used);
  expect(five.used).toEqual(new Set(PHASES.flat()));
});

test.each([1, 3, 6])("of %i rows one that is not as it was read makes the statement raise", async (count) => {
  const client = await server.store.writers.connect();
  try {
    for (const name of ["intents_work", "intents_update", "steps_update", "signals_take"]) {
      const statement = statements.get(name) as AnyStatement;
      await client.query("begin");
      const rows = Array.from({ length: count }, (_, number) => rowOf(statement, number + 100));
      await expect(client.query(all.bind(plain(statement), rows))).rejects.toMatchObject({ code: "40001" });
      await client.query("rollback");
    }
  } finally {
    client.release();
  }
});

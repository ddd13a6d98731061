// Makes many ended intents at once: copies of one that a server has made, so that they are as true as that one.
import type pg from "pg";

/** What tells copies apart in each table: whose row it is, and when it was written. */
const TABLES = {
  intents: { key: "id", times: ["created_at", "updated_at", "queue_at"] },
  intent_data: { key: "id", times: ["created_at"] },
  outcomes: { key: "intent_id", times: ["finished_at"] },
  events: { key: "intent_id", times: ["at"] },
  steps: { key: "intent_id", times: ["started_at", "finished_at"] },
} as const;
const LOG_TABLES: ReadonlySet<string> = new Set(["events", "steps"]);

export interface Copies {
  readonly of: string;
  readonly count: number;
  /** Only every so many-th brings its log and steps along. */
  readonly withLogEvery?: number;
}

/** Each a millisecond older than the one before, with ids in the order of their creation, as those of servers are. */
const COPIES = `create temp table copies as select n, at,
    (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7000a000' || lpad(to_hex(n), 12, '0'))::uuid as id
  from (select n, i.created_at - n * interval '1 millisecond' as at from generate_series(1, $1::int) n, intents i where i.id = $2) g`;

export async function storeCopies(db: pg.Client, { of, count, withLogEvery = 1 }: Copies): Promise<void> {
  await db.query(COPIES, [count, of]);
  for (const [table, { key, times }] of Object.entries(TABLES)) {
    const { rows } = await db.query<{ name: string }>(
      "select attname as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum",
      [table],
    );
    const value = (name: string) =>
      name === key ? "c.id" : (times as readonly string[]).includes(name) ? "c.at" : `t.${name}`;
    const every = LOG_TABLES.has(table) ? withLogEvery : 1;
    await db.query(
      `insert into ${table} (${rows.map(({ name }) => name).join(", ")})
        select ${rows.map(({ name }) => value(name)).join(", ")} from copies c, ${table} t where t.${key} = $1 and c.n % $2 = 0`,
      [of, every],
    );
  }
  await db.query("drop table copies");
}

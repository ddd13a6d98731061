// The database's clock, which decides everything about time.

import { sql } from "kysely";
import type { Store } from "../connection.ts";

export async function readClock({ db }: Pick<Store, "db">): Promise<number> {
  const { rows } = await sql<{ now: number }>`
    select (extract(epoch from clock_timestamp()) * 1000)::float8 as now`.execute(db);
  return rows[0]?.now ?? Number.NaN;
}

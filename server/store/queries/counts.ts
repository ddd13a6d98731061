// How many intents there are, by status. Counting has no index and takes time with each row: the newest so many are counted.

import { type RawBuilder, sql } from "kysely";
import { type Access, seesEverything } from "../../domain/access.ts";
import type { Status } from "../../domain/lifecycle.ts";
import type { Store } from "../connection.ts";
import { seen } from "../sight.ts";

export interface CountFilter {
  readonly access: Access;
  readonly toAgent?: string;
  readonly intentType?: string;
  readonly session?: string;
  readonly parentIntentId?: string;
  readonly code?: string;
  readonly createdFrom?: number;
  readonly createdTo?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface Counts {
  readonly byStatus: Readonly<Partial<Record<Status, number>>>;
  readonly paused: number;
  readonly total: number;
  /** There are more than were counted. */
  readonly capped: boolean;
}

function conditions(filter: CountFilter): RawBuilder<boolean>[] {
  const all: RawBuilder<boolean>[] = [];
  if (!seesEverything(filter.access)) all.push(seen(filter.access, "i"));
  if (filter.toAgent !== undefined) all.push(sql`i.to_agent = ${filter.toAgent}`);
  if (filter.intentType !== undefined) all.push(sql`i.intent_type = ${filter.intentType}`);
  if (filter.parentIntentId !== undefined) all.push(sql`i.parent_id = ${filter.parentIntentId}::uuid`);
  if (filter.createdFrom !== undefined)
    all.push(sql`i.created_at >= to_timestamp(${filter.createdFrom}::float8 / 1000)`);
  if (filter.createdTo !== undefined)
    all.push(sql`i.created_at < to_timestamp(${filter.createdTo}::float8 / 1000)`);
  if (filter.session !== undefined) all.push(sql`d.session = ${filter.session}`);
  if (filter.metadata !== undefined) all.push(sql`d.metadata @> ${JSON.stringify(filter.metadata)}::jsonb`);
  if (filter.code !== undefined) all.push(sql`o.code = ${filter.code}`);
  return all;
}

export async function countIntents(store: Store, filter: CountFilter, max: number): Promise<Counts> {
  const where = conditions(filter);
  const withData = filter.session !== undefined || filter.metadata !== undefined;
  // Ids grow with time: the key alone leads to the newest.
  const { rows } = await sql<{ status: Status; paused: boolean; n: string }>`
    select status, paused, count(*) as n from (
      select i.status, i.paused from intents i
        ${withData ? sql`join intent_data d on d.id = i.id` : sql``}
        ${filter.code === undefined ? sql`` : sql`join outcomes o on o.intent_id = i.id`}
      ${where.length === 0 ? sql`` : sql`where ${sql.join(where, sql` and `)}`}
      order by i.id desc limit ${max + 1}) newest
    group by 1, 2`.execute(store.db);
  const byStatus: Partial<Record<Status, number>> = {};
  let paused = 0;
  let total = 0;
  for (const row of rows) {
    const n = Number(row.n);
    byStatus[row.status] = (byStatus[row.status] ?? 0) + n;
    if (row.paused) paused += n;
    total += n;
  }
  return { byStatus, paused, total, capped: total > max };
}

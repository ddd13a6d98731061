// Lists in an order that no index has, because an index on what every write changes would cost every write. A bounded number of intents is
// sorted, anew for each page: the newest of those that live, and for the latest changes the newest of all and those that ended last. Where
// there are more, the answer says so.

import { type RawBuilder, sql } from "kysely";
import { isTerminal, TERMINAL_STATUSES } from "../../domain/lifecycle.ts";
import type { Store } from "../connection.ts";
import {
  BYTES,
  findIntents,
  firstMatching,
  fittingOf,
  type IntentFilter,
  type IntentPage,
  LIVE_STATUSES,
  namespacesToLookInto,
} from "./intents.ts";

const instant = (column: string) => sql<number>`extract(epoch from ${sql.ref(column)})::float8`;

/** All ascending, so that a page goes on behind (key, id), whatever the order. */
const KEYS = {
  recently_changed: sql<number>`-${instant("c.updated_at")}`,
  longest_unchanged: instant("c.updated_at"),
  priority: sql<number>`-c.priority::float8`,
  deadline: instant("c.deadline_at"),
} as const satisfies Readonly<Record<string, RawBuilder<number>>>;

export type SortOrder = keyof typeof KEYS;
export const SORT_ORDERS = Object.keys(KEYS) as readonly SortOrder[];

export interface SortPosition {
  readonly key: number;
  readonly id: string;
}

export interface Sort {
  readonly order: SortOrder;
  /** Keyset: everything behind it. */
  readonly behind: SortPosition | null;
  readonly limit: number;
  readonly maxBytes: number;
  /** Intents of one kind that are sorted at most. */
  readonly sortMax: number;
}

export interface SortedPage extends IntentPage {
  /** Where the next page begins; null at the end. */
  readonly next: SortPosition | null;
  /** How many were sorted. */
  readonly sorted: number;
  /** Whether there are more than were sorted. */
  readonly capped: boolean;
}

/** What has ended last, whenever it was created. */
async function lastEnded(
  store: Store,
  filter: IntentFilter,
  max: number,
): Promise<RawBuilder<unknown> | null> {
  const namespaces = await namespacesToLookInto(store, filter);
  if (namespaces === null || namespaces.length === 0) return null;
  const wanted = (filter.status ?? TERMINAL_STATUSES).filter(isTerminal);
  const each = Math.ceil(max / (namespaces.length * wanted.length));
  const parts = namespaces.flatMap((namespace) =>
    wanted.map(
      (status) => sql`(select intent_id from outcomes where namespace = ${namespace} and status = ${status}
        order by finished_at desc, intent_id desc limit ${each})`,
    ),
  );
  const ended = sql<string>`(${sql.join(parts, sql` union all `)})`;
  return firstMatching(store, { ...filter, status: wanted, among: ended }, max, "keys");
}

/** Each bounded, by an order that is indexed. */
async function candidates(
  store: Store,
  filter: IntentFilter,
  order: SortOrder,
  max: number,
): Promise<RawBuilder<unknown>[]> {
  const status = filter.status ?? LIVE_STATUSES;
  const live = status.filter((one) => !isTerminal(one));
  const first = (narrowed: IntentFilter) => firstMatching(store, narrowed, max, "keys");
  const newest = { ...filter, status, byId: !status.some(isTerminal) };
  switch (order) {
    // The oldest are the ones that may have been forgotten.
    case "longest_unchanged":
      return [await first({ ...newest, oldestFirst: true })];
    case "deadline":
      return [await first({ ...newest, due: true })];
    case "priority":
      return [await first(newest)];
    case "recently_changed": {
      const ended = filter.status === undefined || filter.status.some(isTerminal);
      const parts = [
        live.length === 0 ? null : await first({ ...filter, status: live, byId: true }),
        ended ? await first(filter) : null,
        ended ? await lastEnded(store, filter, max) : null,
      ];
      return parts.filter((part) => part !== null);
    }
  }
}

interface SortedRow {
  readonly id: string;
  readonly key: number;
  readonly bytes: number | null;
  readonly sorted: number;
  readonly capped: boolean;
}

export async function listSorted(store: Store, filter: IntentFilter, sort: Sort): Promise<SortedPage> {
  const { order, behind, limit, sortMax } = sort;
  const parts = await candidates(store, filter, order, sortMax + 1);
  const all = parts.map((part, kind) => sql`select *, ${sql.lit(kind)} as kind from (${part}) part`);
  const key = KEYS[order];
  const due = order === "deadline" ? sql`where c.deadline_at is not null` : sql``;
  const after = behind === null ? sql`` : sql`where (key, id) > (${behind.key}::float8, ${behind.id}::uuid)`;
  const { rows } = await sql<SortedRow>`
    with candidates as materialized (${sql.join(all, sql` union all `)}),
      told as (select count(distinct id)::int as sorted,
        coalesce((select max(n) from (select count(*) as n from candidates group by kind) k), 0) > ${sortMax} as capped from candidates),
      keyed as (select distinct id, ${key} as key from candidates c ${due}),
      page as materialized (select id, key from keyed ${after} order by key, id limit ${limit + 1})
    select page.id, page.key, ${BYTES} as bytes, told.sorted, told.capped
      from told left join page on true left join intent_data d on d.id = page.id left join outcomes o on o.intent_id = page.id
      order by page.key, page.id`.execute(store.db);
  const told = rows[0];
  const found = rows.filter(({ id }) => id !== null);
  const fitting = fittingOf(found, limit, sort.maxBytes);
  const records = await findIntents(
    store,
    fitting.map(({ id }) => id),
  );
  const more = fitting.length < found.length;
  const last = fitting.at(-1);
  return {
    records: fitting.flatMap(({ id }) => records.get(id) ?? []),
    more,
    next: more && last !== undefined ? { key: last.key, id: last.id } : null,
    sorted: told?.sorted ?? 0,
    capped: told?.capped ?? false,
  };
}

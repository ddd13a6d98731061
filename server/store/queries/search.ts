// Looking for a text in intents: there is no index for it, so that one request looks through a bounded number, the newest first, and
// says where the next one goes on.

import { sql } from "kysely";
import type { Store } from "../connection.ts";
import { findIntents, firstMatching, type IntentFilter, type IntentRecord, type Matched } from "./intents.ts";

export interface SearchPage {
  readonly records: readonly IntentRecord[];
  /** Where to go on; null at the end. */
  readonly next: Matched | null;
}

export interface Search {
  readonly text: string;
  readonly limit: number;
  /** Intents that are looked through at most. */
  readonly searchMax: number;
}

/** Where a person would look for it: who, what, and in whose words. */
const SEARCHED = sql`concat_ws(' ', d.id::text, d.intent_type, d.to_agent, d.from_agent, d.session, d.correlation_id,
  d.metadata::text, d.payload::text, o.error::text)`;

export async function searchIntents(store: Store, filter: IntentFilter, search: Search): Promise<SearchPage> {
  const scanned = await firstMatching(store, filter, search.searchMax);
  const direction = sql.raw(filter.oldestFirst === true ? "asc" : "desc");
  const reverse = sql.raw(filter.oldestFirst === true ? "desc" : "asc");
  const { rows } = await sql<{ id: string; created_at: number; kind: "hit" | "last"; scanned: string }>`
    with scanned as materialized (${scanned}),
      hits as (select s.id, s.created_at from scanned s join intent_data d on d.id = s.id left join outcomes o on o.intent_id = s.id
        where position(lower(${search.text}) in lower(${SEARCHED})) > 0
        order by s.created_at ${direction}, s.id ${direction} limit ${search.limit + 1})
    (select id, created_at, 'hit' as kind, 0::bigint as scanned from hits order by created_at ${direction}, id ${direction})
    union all (select id, created_at, 'last', (select count(*) from scanned) from scanned
      order by created_at ${reverse}, id ${reverse} limit 1)`.execute(store.db);
  const hits = rows.filter(({ kind }) => kind === "hit");
  const last = rows.find(({ kind }) => kind === "last");
  const page = hits.slice(0, search.limit);
  const found = await findIntents(
    store,
    page.map(({ id }) => id),
  );
  return {
    records: page.flatMap(({ id }) => found.get(id) ?? []),
    next: nextOf(hits.length > search.limit ? page.at(-1) : undefined, last, search.searchMax),
  };
}

function nextOf(
  lastHit: { readonly id: string; readonly created_at: number } | undefined,
  lastScanned: { readonly id: string; readonly created_at: number; readonly scanned: string } | undefined,
  searchMax: number,
): Matched | null {
  const at = lastHit ?? (Number(lastScanned?.scanned ?? 0) >= searchMax ? lastScanned : undefined);
  return at === undefined ? null : { id: at.id, createdAt: at.created_at };
}

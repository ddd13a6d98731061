// Removes ended intents with everything that belongs to them. Bounded: the caller says which.

import { TERMINAL_STATUSES } from "../domain/lifecycle.ts";
import { textArrayLiteral } from "./binary.ts";
import type { Store } from "./connection.ts";

const OF_INTENT = ["events", "steps", "outcomes", "signals", "checkpoints", "idempotency_keys"] as const;

// Locked and looked at again first: an operator's retry that came before keeps everything.
const REMOVE = `with gone as (select id, namespace, 'intent:' || id as scope from intents
      where id = any($1::uuid[]) and status = any($2::text[]) order by id for update),
    ${OF_INTENT.map((table) => `r_${table} as (delete from ${table} t using gone where t.intent_id = gone.id)`).join(",\n    ")},
    r_heads as (delete from state_heads t using gone where t.namespace = gone.namespace and t.scope = gone.scope),
    r_versions as (delete from state_versions t using gone where t.namespace = gone.namespace and t.scope = gone.scope),
    r_data as (delete from intent_data t using gone where t.id = gone.id)
  delete from intents t using gone where t.id = gone.id`;

/** Answers how many there were: one that lives again stays. */
export async function removeIntents(store: Store, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const result = await store.pool.query(REMOVE, [ids, textArrayLiteral(TERMINAL_STATUSES)]);
  return result.rowCount ?? 0;
}

// What a living parent may still ask for stays until that has ended.
const NOT_AWAITED = `not exists (select 1 from intents i join intents p on p.id = i.parent_id
    where i.id = o.intent_id and p.status <> all($1::text[]))`;

// The clock is asked once, for the bound of an index: asked at each row, it would be asked at every row there is.
/** Ended intents whose time is over, by their own word or by the default; the oldest first. */
export async function expiredIntents(
  store: Store,
  defaultMs: number | null,
  limit: number,
): Promise<string[]> {
  const terminal = textArrayLiteral(TERMINAL_STATUSES);
  const own = await store.pool.query<{ intent_id: string }>({
    name: "expired_own",
    text: `select o.intent_id from outcomes o where o.expires_at <= (select perdure_now()) and ${NOT_AWAITED}
      order by o.expires_at, o.intent_id limit $2`,
    values: [terminal, limit],
  });
  const ids = own.rows.map((row) => row.intent_id);
  if (defaultMs === null || ids.length >= limit) return ids;
  const byDefault = await store.pool.query<{ intent_id: string }>({
    name: "expired_default",
    text: `select o.intent_id from outcomes o where o.expires_at is null
        and o.finished_at <= (select perdure_now()) - make_interval(secs => $3::float8 / 1000) and ${NOT_AWAITED}
      order by o.finished_at, o.intent_id limit $2`,
    values: [terminal, limit - ids.length, defaultMs],
  });
  return [...ids, ...byDefault.rows.map((row) => row.intent_id)];
}

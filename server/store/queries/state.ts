// Reads of state: current values, old versions, values as of an entry of an intent's log.

import { sql } from "kysely";
import { type Access, may, seesEverything } from "../../domain/access.ts";
import { RawJson } from "../../domain/raw-json.ts";
import type { Store } from "../connection.ts";
import { covered, openSession, seen } from "../sight.ts";

export interface StateEntry {
  readonly scope: string;
  readonly key: string;
  readonly version: number;
  /** Null for a tombstone, or when values were not asked for. */
  readonly value: RawJson | null;
  readonly deleted: boolean;
  readonly at: number;
  readonly actor: string;
  readonly intentId: string | null;
  readonly seq: number | null;
}

interface Row {
  scope: string;
  key: string;
  version: number;
  value: string | null;
  deleted: boolean;
  at: number;
  actor: string;
  intent_id: string | null;
  seq: number | null;
}

const toEntry = (row: Row): StateEntry => ({
  scope: row.scope,
  key: row.key,
  version: row.version,
  value: row.value === null ? null : new RawJson(row.value),
  deleted: row.deleted,
  at: row.at,
  actor: row.actor,
  intentId: row.intent_id,
  seq: row.seq,
});

const COLUMNS =
  "v.scope, v.key, v.version, v.value, v.value is null as deleted, v.at, v.actor, v.intent_id, v.seq";

const CURRENT = {
  name: "state_current",
  text: `select ${COLUMNS} from state_heads h join state_versions v using (namespace, scope, key, version)
    where h.namespace = $1 and h.scope = $2 and h.key = $3`,
};
const AT_VERSION = {
  name: "state_at_version",
  text: `select ${COLUMNS} from state_versions v where v.namespace = $1 and v.scope = $2 and v.key = $3 and v.version = $4`,
};

/**
 * As it was at an entry of an intent's log: told by that log, whose writes are there however few versions are kept. Given the
 * parameters that stand for the entry and for the key; without the latter it is of all keys.
 */
function ofLog(seqParam: string, keyParam?: string): string {
  const ofKey = keyParam === undefined ? "" : `and w.write ->> 'key' = ${keyParam}`;
  return `select distinct on (w.write ->> 'key') w.write ->> 'scope' as scope, w.write ->> 'key' as key,
      (w.write ->> 'version')::int as version, w.write -> 'value' as value, w.write -> 'value' is null as deleted, e.at, e.actor,
      e.intent_id, e.seq
    from events e cross join lateral json_array_elements(e.details -> 'writes') with ordinality as w(write, place)
    where e.namespace = $1 and w.write ->> 'scope' = $2 and e.intent_id = substr($2, 8)::uuid and e.seq <= ${seqParam}
      and e.type = 'intent.state_changed' ${ofKey}
    order by w.write ->> 'key', e.seq desc, w.place desc`;
}
const AS_OF = { name: "state_as_of", text: ofLog("$3", "$4") };

export interface StateName {
  readonly namespace: string;
  readonly scope: string;
  readonly key: string;
}

/** The current entry, a tombstone included; or the one of a version, or as it was at an intent's seq. */
export async function findState(
  store: Store,
  { namespace, scope, key }: StateName,
  at: { readonly version?: number; readonly seq?: number } = {},
): Promise<StateEntry | undefined> {
  const name = [namespace, scope, key];
  const query =
    at.version !== undefined
      ? { ...AT_VERSION, values: [...name, at.version] }
      : at.seq !== undefined
        ? { ...AS_OF, values: [namespace, scope, at.seq, key] }
        : { ...CURRENT, values: name };
  const { rows } = await store.pool.query<Row>(query);
  return rows[0] === undefined ? undefined : toEntry(rows[0]);
}

export interface StateEntries {
  readonly entries: readonly StateEntry[];
  /** Whether others follow. */
  readonly more: boolean;
}

/** The rows of `inner` in order; the value of what lies beyond `bytes` (a parameter) is left out, and so not sent. */
const withinBytes = (inner: string, order: string, bytes: string): string =>
  `select scope, key, version, case when fits then value end as value, deleted, at, actor, intent_id, seq, fits from (
      select q.*, sum(size) over page <= ${bytes} or row_number() over page = 1 as fits from (
        select p.*, coalesce(octet_length(p.value::text), 0) as size from (${inner}) p) q
      window page as (order by ${order} rows unbounded preceding)) f order by ${order}`;

/** `limit + 1` rows were asked for: the surplus one, or one that does not fit, only proves that there is more. */
function pageWithin(rows: readonly (Row & { fits: boolean })[], limit: number): StateEntries {
  const fitting = rows.slice(0, limit).filter((row) => row.fits);
  return { entries: fitting.map(toEntry), more: fitting.length < rows.length };
}

export interface StatePage {
  readonly namespace: string;
  readonly scope: string;
  readonly prefix: string;
  readonly limit: number;
  /** A page ends here, whatever its limit says: values may be large, and a page has to fit into memory. */
  readonly maxBytes: number;
  /** Keys behind this one. */
  readonly after?: string;
  readonly descending: boolean;
  /** As the scope was at this seq of its intent's log. */
  readonly seq?: number;
}

/** Entries of a scope that are there, by key; tombstones are left out. */
export async function listState(store: Store, page: StatePage): Promise<StateEntries> {
  const order = page.descending ? "desc" : "asc";
  const beyond = page.descending ? "<" : ">";
  const current =
    page.seq === undefined
      ? `select ${COLUMNS} from state_heads h join state_versions v using (namespace, scope, key, version)
          where h.namespace = $1 and h.scope = $2 and not h.deleted`
      : `select v.* from (${ofLog("$7")}) v where not v.deleted`;
  const inner = `${current} and starts_with(v.key, $3) and ($4::text is null or v.key ${beyond} $4 collate "C")
      order by v.key ${order} limit $5`;
  const { rows } = await store.pool.query<Row & { fits: boolean }>(withinBytes(inner, `key ${order}`, "$6"), [
    page.namespace,
    page.scope,
    page.prefix,
    page.after ?? null,
    page.limit + 1,
    page.maxBytes,
    ...(page.seq === undefined ? [] : [page.seq]),
  ]);
  return pageWithin(rows, page.limit);
}

/** The history of a key, the newest first, below a version. */
export async function listVersions(
  store: Store,
  { namespace, scope, key }: StateName,
  page: { readonly before: number | null; readonly limit: number; readonly maxBytes: number },
): Promise<StateEntries> {
  const inner = `select ${COLUMNS} from state_versions v where v.namespace = $1 and v.scope = $2 and v.key = $3
      and ($4::int is null or v.version < $4) order by v.version desc limit $5`;
  const { rows } = await store.pool.query<Row & { fits: boolean }>(withinBytes(inner, "version desc", "$6"), [
    namespace,
    scope,
    key,
    page.before,
    page.limit + 1,
    page.maxBytes,
  ]);
  return pageWithin(rows, page.limit);
}

/** Within its namespace an operator sees all; others the memory of addresses, intents and sessions that they see. */
function seenScope(access: Access) {
  if (seesEverything(access)) return sql<boolean>`true`;
  const own = sql<boolean>`h.namespace = ${access.namespace}`;
  if (may(access, "operate")) return own;
  return sql<boolean>`${own} and case split_part(h.scope, ':', 1)
      when 'agent' then exists (select 1 from (select substr(h.scope, 7) as address) s where ${covered(access, sql.ref("s.address"))})
      when 'intent' then exists (select 1 from intents i where i.id = substr(h.scope, 8)::uuid and ${seen(access, "i")})
      else ${openSession(access, sql.ref("h.namespace"), sql`substr(h.scope, 9)`)} end`;
}

/** Scopes that hold something, by name. */
export async function listScopes(
  store: Store,
  access: Access,
  kind: string | null,
  after: string | null,
  limit: number,
): Promise<{ scope: string; keys: number; updatedAt: number }[]> {
  const { rows } = await sql<{ scope: string; keys: number; updated_at: number }>`
    select scope, count(*)::int as keys, max(updated_at) as updated_at from state_heads h
      where ${seenScope(access)} and not deleted and starts_with(scope, ${kind === null ? "" : `${kind}:`})
        and (${after}::text is null or scope > ${after} collate "C")
      group by scope order by scope limit ${limit}`.execute(store.db);
  return rows.map((row) => ({ scope: row.scope, keys: row.keys, updatedAt: row.updated_at }));
}

// Reads of intents for views and lists. No locks, no decisions.

import { type AliasedRawBuilder, type Kysely, type RawBuilder, sql } from "kysely";
import { type Access, maySee, type Owned, seesEverything } from "../../domain/access.ts";
import type { Intent, IntentData, Outcome } from "../../domain/intent.ts";
import { isTerminal, STATUSES, type Status, TERMINAL_STATUSES } from "../../domain/lifecycle.ts";
import { RawJson } from "../../domain/raw-json.ts";
import { encodeArray, encodeValue } from "../binary.ts";
import { coalesced } from "../coalesce.ts";
import type { Store } from "../connection.ts";
import type { Database, IntentsTable } from "../database.ts";
import { rawOrNull, toIntent } from "../rows.ts";
import { seen } from "../sight.ts";

const rawNull = new RawJson("null");

export interface IntentRecord {
  readonly intent: Intent;
  readonly data: IntentData;
  readonly outcome: Outcome | null;
}

export interface JoinedRow extends Omit<IntentsTable, "first_seq"> {
  d_from_agent: string;
  d_to_agent_as_sent: string;
  d_payload: string;
  d_metadata: string;
  d_correlation_id: string | null;
  d_session: string | null;
  d_session_namespace: string | null;
  d_parent_intent_id: string | null;
  d_parent_step: string | null;
  d_detached: boolean;
  d_reply_to: string | null;
  d_reply_to_address: string | null;
  d_scenario: string | null;
  d_retention: string | null;
  d_traceparent: string | null;
  o_status: Outcome["status"] | null;
  o_code: string | null;
  o_result: string | null;
  o_error: string | null;
  o_attempt: number | null;
}

const DATA_COLUMNS = [
  "d.from_agent as d_from_agent",
  "d.to_agent_as_sent as d_to_agent_as_sent",
  "d.payload as d_payload",
  "d.metadata as d_metadata",
  "d.correlation_id as d_correlation_id",
  "d.session as d_session",
  "d.session_namespace as d_session_namespace",
  "d.parent_intent_id as d_parent_intent_id",
  "d.parent_step as d_parent_step",
  "d.detached as d_detached",
  "d.reply_to as d_reply_to",
  "d.reply_to_address as d_reply_to_address",
  "d.scenario as d_scenario",
  "d.retention as d_retention",
  "d.traceparent as d_traceparent",
  "o.status as o_status",
  "o.code as o_code",
  "o.result as o_result",
  "o.error as o_error",
  "o.attempt as o_attempt",
] as const;

export function toRecord(row: JoinedRow): IntentRecord {
  const intent = toIntent(row);
  const data: IntentData = {
    id: row.id,
    namespace: row.namespace,
    fromAgent: row.d_from_agent,
    toAgent: row.to_agent,
    toAgentAsSent: row.d_to_agent_as_sent,
    intentType: row.intent_type,
    payload: rawOrNull(row.d_payload) ?? rawNull,
    metadata: JSON.parse(row.d_metadata),
    correlationId: row.d_correlation_id,
    session: row.d_session,
    sessionNamespace: row.d_session_namespace,
    parentIntentId: row.d_parent_intent_id,
    parentStep: row.d_parent_step,
    detached: row.d_detached,
    replyTo: row.d_reply_to,
    replyToAddress: row.d_reply_to_address,
    scenario: rawOrNull(row.d_scenario),
    retention: rawOrNull(row.d_retention),
    traceparent: row.d_traceparent,
  };
  if (row.o_status === null) return { intent, data, outcome: null };
  const outcome: Outcome = {
    status: row.o_status,
    code: row.o_code,
    result: rawOrNull(row.o_result),
    error: row.o_error === null ? null : JSON.parse(row.o_error),
    attempt: row.o_attempt,
  };
  return { intent, data, outcome };
}

const RECORDS = `select i.*, ${DATA_COLUMNS.join(", ")} from intents i
    join intent_data d on d.id = i.id left join outcomes o on o.intent_id = i.id`;

export const BY_ID = { name: "intents_by_id", text: `${RECORDS} where i.id = any($1::uuid[])` };

// Of one alone PostgreSQL keeps the plan. An array of unknown length looks so dear to it that it plans anew for each, which takes four
// times as long as reading one row.
const ONE_BY_ID = { name: "intent_by_id", text: `${RECORDS} where i.id = $1::uuid` };

export async function findIntents(store: Store, ids: readonly string[]): Promise<Map<string, IntentRecord>> {
  const query =
    ids.length === 1
      ? { ...ONE_BY_ID, values: [encodeValue("uuid", ids[0])] }
      : { ...BY_ID, values: [encodeArray("uuid", ids)] };
  const { rows } = await store.pool.query<JoinedRow>(query);
  return new Map(rows.map((row) => [row.id, toRecord(row)]));
}

/** They may be large: a few at a time. */
const RECORDS_AT_ONCE = 16;
const findIntent = coalesced(findIntents, RECORDS_AT_ONCE);

/** Undefined also for one that is out of sight. */
export async function findSeenIntent(
  store: Store,
  id: string,
  access: Access,
): Promise<IntentRecord | undefined> {
  const record = await findIntent(store, id.toLowerCase());
  return record !== undefined && maySee(access, record.intent) ? record : undefined;
}

// One trip for whoever waits for an end: what it ended with is read only if it has ended.
const ENDED = {
  name: "intent_ended",
  text: `select i.*, ${DATA_COLUMNS.join(", ")} from intents i
    left join intent_data d on d.id = i.id and i.status = any($2::text[])
    left join outcomes o on o.intent_id = d.id where i.id = $1`,
};

/** The intent if it has ended, `"live"` if it has not, undefined for one that is out of sight. */
export async function findEnded(
  store: Store,
  id: string,
  access: Access,
): Promise<IntentRecord | "live" | undefined> {
  const values = [id, encodeArray("text", TERMINAL_STATUSES)];
  const [row] = (await store.pool.query<JoinedRow>({ ...ENDED, values })).rows;
  if (row === undefined || !maySee(access, ownedOf(row))) return undefined;
  return isTerminal(row.status) ? toRecord(row) : "live";
}

const ownedOf = (row: Pick<IntentsTable, "namespace" | "to_agent" | "sent_by">): Owned => ({
  namespace: row.namespace,
  toAgent: row.to_agent,
  sentBy: row.sent_by,
});

/** Where an intent is, and whose. */
export async function findOwned(store: Store, id: string): Promise<Owned | undefined> {
  const query = {
    name: "intent_owned",
    text: "select namespace, to_agent, sent_by from intents where id = $1",
    values: [id],
  };
  const [row] = (await store.pool.query<Parameters<typeof ownedOf>[0]>(query)).rows;
  return row === undefined ? undefined : ownedOf(row);
}

export async function findStatus(
  db: Kysely<Database>,
  id: string,
): Promise<{ status: Status; seq: number } | undefined> {
  return db.selectFrom("intents").select(["status", "seq"]).where("id", "=", id).executeTakeFirst();
}

export interface IntentFilter {
  /** Only what it sees is listed. */
  readonly access: Access;
  readonly status?: readonly Status[];
  readonly toAgent?: string;
  readonly intentType?: string;
  readonly session?: string;
  readonly parentIntentId?: string;
  readonly code?: string;
  readonly createdFrom?: number;
  readonly createdTo?: number;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly idTail?: string;
  /** Nothing has happened to it for so long. */
  readonly idleMs?: number;
  readonly paused?: boolean;
  /** Of these alone. */
  readonly ids?: readonly string[];
  /** Of those alone whose ids this query tells. */
  readonly among?: RawBuilder<string>;
  /** Of those alone for which there is a timer, as there is for each deadline. */
  readonly due?: boolean;
  readonly oldestFirst?: boolean;
  /** In the order of ids, which is nearly that of creation: what lives is found in it without passing over what has ended. */
  readonly byId?: boolean;
  /** Keyset: everything behind this pair. */
  readonly after?: { readonly createdAt: number; readonly id: string };
}

export interface ListFilter extends IntentFilter {
  readonly limit: number;
  /** A page ends here, whatever its limit says: payloads and results may be large, and a page has to fit into memory. */
  readonly maxBytes: number;
}

export interface IntentPage {
  readonly records: readonly IntentRecord[];
  /** Whether older ones follow. */
  readonly more: boolean;
}

/** The one namespace in which everything lies that is seen, for its index; null: there may be others. */
const onlyNamespace = ({ namespace, patterns }: Access): string | null =>
  patterns.every((pattern) => pattern.startsWith(`${namespace}/`)) ? namespace : null;

export const LIVE_STATUSES: readonly Status[] = STATUSES.filter((status) => !isTerminal(status));

/** The intents that a filter is for, the newest first unless it says otherwise. */
function matching({ db }: Store, filter: IntentFilter, inNamespace: string | null) {
  let query = db
    .selectFrom("intents as i")
    .innerJoin("intent_data as d", "d.id", "i.id")
    .leftJoin("outcomes as o", "o.intent_id", "i.id")
    .select(["i.id", "d.created_at"]);
  const namespace = inNamespace ?? onlyNamespace(filter.access);
  if (namespace !== null) query = query.where("d.namespace", "=", namespace);
  if (!seesEverything(filter.access)) query = query.where(seen(filter.access, "i"));
  if (filter.status !== undefined) {
    // All that lives is what is in `live`: the planner does not know it, and would take both for rare.
    if (!LIVE_STATUSES.every((live) => filter.status?.includes(live)) || filter.status.some(isTerminal))
      query = query.where("i.status", "in", [...filter.status]);
    // However many have ended, those that live are few, and so may be those that failed: each have an index of their own.
    if (filter.status.every(isTerminal))
      query = query.where("o.status", "in", filter.status.filter(isTerminal));
    if (!filter.status.some(isTerminal)) query = query.innerJoin("live as v", "v.intent_id", "i.id");
  }
  if (filter.toAgent !== undefined) query = query.where("d.to_agent", "=", filter.toAgent);
  if (filter.intentType !== undefined) query = query.where("d.intent_type", "=", filter.intentType);
  if (filter.session !== undefined)
    query = query.where(
      sql<boolean>`(d.session_namespace, d.session) in (select namespace, name from sessions where name = ${filter.session})`,
    );
  if (filter.parentIntentId !== undefined)
    query = query.where("d.parent_intent_id", "=", filter.parentIntentId);
  if (filter.code !== undefined) query = query.where("o.code", "=", filter.code);
  if (filter.createdFrom !== undefined) query = query.where("d.created_at", ">=", at(filter.createdFrom));
  if (filter.createdTo !== undefined) query = query.where("d.created_at", "<", at(filter.createdTo));
  if (filter.metadata !== undefined)
    query = query.where(sql<boolean>`d.metadata @> ${JSON.stringify(filter.metadata)}::jsonb`);
  if (filter.idTail !== undefined)
    query = query.where(sql<boolean>`replace(d.id::text, '-', '') like ${`%${filter.idTail}`}`);
  if (filter.idleMs !== undefined)
    query = query.where(
      sql<boolean>`i.updated_at <= perdure_now() - make_interval(secs => ${filter.idleMs}::float8 / 1000)`,
    );
  if (filter.ids !== undefined) query = query.where(sql<boolean>`d.id = any(${[...filter.ids]}::uuid[])`);
  if (filter.among !== undefined) query = query.where(sql<boolean>`d.id in (${filter.among})`);
  if (filter.due === true) query = query.innerJoin("timers as t", "t.intent_id", "i.id");
  if (filter.paused !== undefined) query = query.where("i.paused", "=", filter.paused);
  if (filter.after !== undefined) {
    const { createdAt, id } = filter.after;
    const pair = sql`(${at(createdAt)}, ${id}::uuid)`;
    query = query.where(
      filter.oldestFirst === true
        ? sql<boolean>`(d.created_at, d.id) > ${pair}`
        : sql<boolean>`(d.created_at, d.id) < ${pair}`,
    );
  }
  const direction = filter.oldestFirst === true ? "asc" : "desc";
  return filter.byId === true
    ? query.orderBy("i.id", direction)
    : query.orderBy("d.created_at", direction).orderBy("d.id", direction);
}

/** More namespaces than these are not looked into one by one. */
const NAMESPACES_MAX = 50;

/** Those in which there is anything: a hop along the index for each. Null where another index leads there, or there are too many. */
export async function namespacesToLookInto(
  { db }: Store,
  filter: IntentFilter,
): Promise<readonly string[] | null> {
  const { access, toAgent, session, parentIntentId, ids, among, byId } = filter;
  if ((toAgent ?? session ?? parentIntentId ?? ids ?? among ?? byId) !== undefined) return null;
  const only = onlyNamespace(access);
  if (only !== null) return [only];
  const { rows } = await sql<{ namespace: string }>`with recursive n as (
      (select namespace from intent_data order by namespace limit 1)
      union all select (select d.namespace from intent_data d where d.namespace > n.namespace order by d.namespace limit 1)
        from n where n.namespace is not null)
    select namespace from n where namespace is not null limit ${NAMESPACES_MAX + 1}`.execute(db);
  return rows.length > NAMESPACES_MAX ? null : rows.map(({ namespace }) => namespace);
}

/** How much of a page a row takes: of `d`, its data, and `o`, its outcome. */
export const BYTES = sql<number>`coalesce(octet_length(d.payload::text), 0) + coalesce(octet_length(o.result::text), 0)
    + coalesce(octet_length(o.error::text), 0)`;

/** What is asked of a row beside its place in the order of creation. */
const ALSO: Readonly<Record<"nothing" | "bytes" | "keys", readonly AliasedRawBuilder<unknown, string>[]>> = {
  nothing: [sql`null::int`.as("bytes")],
  bytes: [BYTES.as("bytes")],
  keys: ["updated_at", "priority", "deadline_at"].map((name) => sql.ref(`i.${name}`).as(name)),
};

interface MatchedRow {
  readonly id: string;
  readonly created_at: number;
  readonly bytes: number | null;
}

/**
 * A query for the first `limit` that match. Their order is indexed within a namespace only: each is asked for its first ones, and those
 * are merged, so that a page of a hundred thousand costs what it costs of a hundred.
 */
export async function firstMatching(
  store: Store,
  filter: IntentFilter,
  limit: number,
  also: keyof typeof ALSO = "nothing",
): Promise<RawBuilder<MatchedRow>> {
  const ofOne = (namespace: string | null) =>
    matching(store, filter, namespace).select(ALSO[also]).limit(limit);
  const namespaces = await namespacesToLookInto(store, filter);
  if (namespaces === null || namespaces.length < 2) return sql`${ofOne(namespaces?.[0] ?? null)}`;
  const parts = namespaces.map((namespace) => sql`(${ofOne(namespace)})`);
  const direction = sql.raw(filter.oldestFirst === true ? "asc" : "desc");
  return sql`select * from (${sql.join(parts, sql` union all `)}) u
    order by created_at ${direction}, id ${direction} limit ${limit}`;
}

export interface Matched {
  readonly id: string;
  readonly createdAt: number;
}

/** Their ids alone, for whoever acts on many. */
export async function matchingIntents(
  store: Store,
  filter: IntentFilter,
  limit: number,
): Promise<readonly Matched[]> {
  const { rows } = await (await firstMatching(store, filter, limit)).execute(store.db);
  return rows.map((row) => ({ id: row.id, createdAt: row.created_at }));
}

/** Those of the rows that make a page: at least one if there is any, at most `limit`. */
export function fittingOf<Row extends { readonly bytes: number | null }>(
  rows: readonly Row[],
  limit: number,
  maxBytes: number,
): readonly Row[] {
  let total = 0;
  return rows.slice(0, limit).filter((row, index) => {
    total += Number(row.bytes);
    return index === 0 || total <= maxBytes;
  });
}

/** At least one if there is any, at most `limit`. */
export async function listIntents(store: Store, filter: ListFilter): Promise<IntentPage> {
  const { rows } = await (await firstMatching(store, filter, filter.limit + 1, "bytes")).execute(store.db);
  const fitting = fittingOf(rows, filter.limit, filter.maxBytes);
  const found = await findIntents(
    store,
    fitting.map((row) => row.id),
  );
  return {
    records: fitting.flatMap((row) => found.get(row.id) ?? []),
    more: fitting.length < rows.length,
  };
}

const at = (ms: number) => sql<number>`to_timestamp(${ms}::float8 / 1000)`;

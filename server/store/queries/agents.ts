// Agents by their addresses: who listens, what waits for them, whether they are paused, what they tell of themselves.

import { sql } from "kysely";
import type { Access } from "../../domain/access.ts";
import { inTransaction, type Store } from "../connection.ts";
import { reachable } from "../sight.ts";
import { LOCK_CURSOR } from "../windows.ts";
import { type AuditEntry, appendAudit } from "./audit.ts";

export const PERIODS = ["day", "week", "month"] as const;
export type Period = (typeof PERIODS)[number];
const DAYS: { readonly [P in Period]: number } = { day: 1, week: 7, month: 31 };
/** Longer than the longest period that can be asked for. */
const DAYS_KEPT = 62;

export interface Agent {
  readonly address: string;
  readonly namespace: string;
  readonly displayName: string | null;
  readonly description: string | null;
  readonly registeredAt: number | null;
  readonly registeredBy: string | null;
  readonly pausedAt: number | null;
  readonly heartbeatAt: number | null;
  readonly createdAt: number | null;
  /** Consumers with a running lease. */
  readonly listeners: number;
  /** When one of its consumers was last heard of. */
  readonly seenAt: number | null;
  readonly queued: number;
  readonly held: number;
  /** What it has told of its work in the period that was asked for. */
  readonly intents: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly costUsd: number;
  /** The database's clock, by which all of this is judged. */
  readonly now: number;
}

export interface AgentPage {
  readonly access: Access;
  readonly period: Period;
  /** Only those that are service accounts, or also whoever listened or was paused. */
  readonly only: "all" | "registered";
  readonly after: string | null;
  readonly limit: number;
}

/** What of an agent is shown is counted up to here: a backlog of millions is "many". */
const COUNTED = 10_000;

const details = (period: Period) => sql`
  select n.address, n.namespace, a.display_name as "displayName", a.description, a.registered_at as "registeredAt",
    a.registered_by as "registeredBy", a.paused_at as "pausedAt", a.heartbeat_at as "heartbeatAt", a.created_at as "createdAt",
    c.listeners, c.seen_at as "seenAt", q.queued, h.held, coalesce(m.intents, 0)::float8 as intents,
    coalesce(m.succeeded, 0)::float8 as succeeded, coalesce(m.failed, 0)::float8 as failed,
    coalesce(m.cost_usd, 0)::float8 as "costUsd", perdure_now() as now
  from n left join agents a on a.address = n.address
  cross join lateral (select count(*) filter (where k.lease_until > perdure_now())::int as listeners, max(k.seen_at) as seen_at
    from consumers k where k.namespace = n.namespace and k.address = n.address) c
  cross join lateral (select count(*)::int as queued from (select 1 from ready r where r.to_agent = n.address limit ${COUNTED}) x) q
  cross join lateral (select count(*)::int as held from consumers k join leases l on l.consumer_id = k.id
    where k.namespace = n.namespace and k.address = n.address) h
  left join lateral (select sum(d.intents) as intents, sum(d.succeeded) as succeeded, sum(d.failed) as failed,
      sum(d.cost_usd) as cost_usd from agent_days d
    where d.address = n.address and d.day > (perdure_now() at time zone 'UTC')::date - ${DAYS[period]}::int) m on true`;

/** Whoever is registered, has listened, or was paused; by address. */
export async function listAgents(
  store: Store,
  { access, period, only, after, limit }: AgentPage,
): Promise<Agent[]> {
  const listening = sql`union select k.address, k.namespace from consumers k where ${reachable(access, "k")}
    and (${after}::text is null or k.address > ${after})`;
  const { rows } = await sql<Agent>`with n as (
      select * from (select a.address, a.namespace from agents a where ${reachable(access, "a")}
          and (${only === "all"} or a.registered_at is not null) and (${after}::text is null or a.address > ${after})
        ${only === "all" ? listening : sql``}) u order by address limit ${limit})
    ${details(period)} order by n.address`.execute(store.db);
  return rows;
}

/** Any address is an agent's, whether it was ever heard of or not. */
export async function findAgent(
  store: Store,
  agent: { readonly address: string; readonly namespace: string },
  period: Period = "day",
): Promise<Agent> {
  const { rows } =
    await sql<Agent>`with n as (select ${agent.address}::text as address, ${agent.namespace}::text as namespace)
    ${details(period)}`.execute(store.db);
  return rows[0] as Agent;
}

/** Whether deliveries to it are held back. */
export async function isAgentPaused(store: Store, address: string): Promise<boolean> {
  const { rowCount } = await store.pool.query(
    "select 1 from agents where address = $1 and paused_at is not null",
    [address],
  );
  return rowCount === 1;
}

/** Those that nobody registered or paused, and that have been silent for longer than is shown; answers how many. */
export async function forgetSilentAgents(store: Store, limit: number): Promise<number> {
  const { rowCount } = await store.pool.query(
    `with gone as (delete from agents where address in (select address from agents
        where registered_at is null and paused_at is null and cardinality(paused_intents) = 0
          and coalesce(heartbeat_at, created_at) < perdure_now() - make_interval(days => $1) limit $2) returning address),
      days as (delete from agent_days d using gone g where d.address = g.address)
    select 1 from gone`,
    [DAYS_KEPT, limit],
  );
  return rowCount ?? 0;
}

interface Named {
  readonly address: string;
  readonly namespace: string;
}

const KNOWN = `insert into agents (address, namespace, created_at) values ($1, $2, perdure_now())
  on conflict (address) do nothing`;

/** Registers it as a service account; answers false when it was one before, which changes nothing. */
export async function registerAgent(
  store: Store,
  { address, namespace }: Named,
  about: {
    readonly displayName: string | null;
    readonly description: string | null;
    readonly by: string;
  },
): Promise<boolean> {
  const { rows } = await store.pool.query<{ fresh: boolean }>(
    `insert into agents as a (address, namespace, display_name, description, registered_at, registered_by, created_at)
      values ($1, $2, $3, $4, perdure_now(), $5, perdure_now())
      on conflict (address) do update set registered_at = excluded.registered_at, registered_by = excluded.registered_by,
        display_name = coalesce(a.display_name, excluded.display_name), description = coalesce(a.description, excluded.description)
        where a.registered_at is null
      returning true as fresh`,
    [address, namespace, about.displayName, about.description, about.by],
  );
  return rows.length > 0;
}

/** From this commit on nothing is delivered to it; one that was paused before stays as it is. */
export function markAgentPaused(
  store: Store,
  { address, namespace }: Named,
  audit: AuditEntry,
): Promise<void> {
  return inTransaction(store.pool, async (client) => {
    await client.query(KNOWN, [address, namespace]);
    const { rowCount } = await client.query(
      "update agents set paused_at = perdure_now() where address = $1 and paused_at is null",
      [address],
    );
    if (rowCount === 1) await appendAudit(client, audit);
  });
}

/**
 * What it holds, noted with it so that it is found again. Its consumers are locked first, as claims do: a delivery that was under way
 * when it was paused has happened by then, and none begins after.
 */
export function noteHeldIntents(store: Store, { address, namespace }: Named): Promise<string[]> {
  return inTransaction(store.pool, async (client) => {
    await client.query(
      "select 1 from consumers where namespace = $1 and address = $2 order by id for update",
      [namespace, address],
    );
    // Deliveries through windows make their consumers: whoever hands one out just now has this lock.
    await client.query(LOCK_CURSOR, [address]);
    const { rows } = await client.query<{ held: string[] }>(
      `update agents a set paused_intents = array(select unnest(a.paused_intents) union
          select l.intent_id from consumers c join leases l on l.consumer_id = c.id where c.namespace = $2 and c.address = $1)
        where a.address = $1 and a.paused_at is not null returning array_to_json(a.paused_intents)::text as held`,
      [address, namespace],
    );
    return JSON.parse(String(rows[0]?.held ?? "[]"));
  });
}

/** Deliveries go on; answers the intents that were paused with it. */
export function markAgentUnpaused(store: Store, address: string, audit: AuditEntry): Promise<string[]> {
  return inTransaction(store.pool, async (client) => {
    const { rows } = await client.query<{ held: string; paused: boolean }>(
      `select array_to_json(paused_intents)::text as held, paused_at is not null as paused from agents
        where address = $1 for update`,
      [address],
    );
    const [row] = rows;
    if (row === undefined) return [];
    if (row.paused) {
      await client.query("update agents set paused_at = null where address = $1", [address]);
      await appendAudit(client, audit);
    }
    return JSON.parse(row.held);
  });
}

/** They are free again; whoever was paused meanwhile stays noted. */
export async function forgetPausedIntents(
  store: Store,
  address: string,
  ids: readonly string[],
): Promise<void> {
  await store.pool.query(
    `update agents set paused_intents = array(select unnest(paused_intents) except select unnest($2::uuid[]))
      where address = $1 and paused_at is null`,
    [address, ids],
  );
}

export interface Metrics {
  readonly intents: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly costUsd: number;
}

/** It says that it is well, and what it has done since it last said so. */
export function recordHeartbeat(
  store: Store,
  { address, namespace }: Named,
  metrics: Metrics | null,
): Promise<void> {
  return inTransaction(store.pool, async (client) => {
    await client.query(
      `insert into agents (address, namespace, heartbeat_at, created_at) values ($1, $2, perdure_now(), perdure_now())
        on conflict (address) do update set heartbeat_at = excluded.heartbeat_at`,
      [address, namespace],
    );
    if (metrics === null) return;
    const { intents, succeeded, failed, costUsd } = metrics;
    await client.query(
      `insert into agent_days as d (address, day, intents, succeeded, failed, cost_usd)
        values ($1, (perdure_now() at time zone 'UTC')::date, $2, $3, $4, $5)
        on conflict (address, day) do update set intents = d.intents + excluded.intents,
          succeeded = d.succeeded + excluded.succeeded, failed = d.failed + excluded.failed,
          cost_usd = d.cost_usd + excluded.cost_usd`,
      [address, intents, succeeded, failed, costUsd],
    );
    await client.query(
      "delete from agent_days where address = $1 and day < (perdure_now() at time zone 'UTC')::date - $2::int",
      [address, DAYS_KEPT],
    );
  });
}

export interface AgentEvent {
  readonly id: number;
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly address: string;
  readonly reason: string | null;
}

/** What was done to agents, the newest first: from the audit log. */
export async function listAgentEvents(
  store: Store,
  page: {
    readonly access: Access;
    readonly address: string | null;
    readonly actions: readonly string[] | null;
    readonly limit: number;
  },
): Promise<AgentEvent[]> {
  const { access, address, actions, limit } = page;
  const { rows } =
    await sql<AgentEvent>`select * from (select g.id, g.at, g.actor, g.action, g.target as address,
        regexp_replace(g.target, '/[^/]*$', '') as namespace, g.details ->> 'reason' as reason
      from audit_log g where g.action like 'agent.%' and g.target is not null) e
    where ${reachable(access, "e")} and (${address}::text is null or e.address = ${address})
      and (${actions === null} or e.action = any(${actions === null ? [] : [...actions]}::text[]))
    order by e.id desc limit ${limit}`.execute(store.db);
  return rows.map((row) => ({ ...row, id: Number(row.id) }));
}

// Sessions as groups of intents: lists, counts, who is alive in one.

import { sql } from "kysely";
import type { Access } from "../../domain/access.ts";
import { type Status, TERMINAL_STATUSES } from "../../domain/lifecycle.ts";
import { textArrayLiteral } from "../binary.ts";
import { inTransaction, type Store } from "../connection.ts";
import { openSession, seen, seenSession } from "../sight.ts";

export interface Session {
  readonly namespace: string;
  readonly name: string;
  readonly paused: boolean;
  readonly createdAt: number;
  readonly lastActivityAt: number;
  /** Intents by status. */
  readonly counts: Readonly<Partial<Record<Status, number>>>;
}

interface Row {
  namespace: string;
  name: string;
  paused: boolean;
  created_at: number;
  last_activity_at: number | null;
  counts: string | null;
}

const toSession = (row: Row): Session => ({
  namespace: row.namespace,
  name: row.name,
  paused: row.paused,
  createdAt: row.created_at,
  lastActivityAt: row.last_activity_at ?? row.created_at,
  counts: row.counts === null ? {} : JSON.parse(row.counts),
});

/** Of the intents that are seen. */
const counted = (access: Access) => sql`cross join lateral (
    select max(c.last) as last_activity_at, json_object_agg(c.status, c.n) filter (where c.status is not null) as counts
    from (select i.status, count(*)::int as n, max(i.updated_at) as last
      from intent_data d join intents i on i.id = d.id where d.session_namespace = s.namespace and d.session = s.name and ${seen(access, "i")}
      group by i.status) c) a`;

export interface SessionPage {
  readonly access: Access;
  readonly after: { readonly namespace: string; readonly name: string } | null;
  readonly limit: number;
}

/** By namespace and name. */
export async function listSessions(store: Store, page: SessionPage): Promise<Session[]> {
  const { access, after } = page;
  const namespace = after?.namespace ?? null;
  const { rows } = await sql<Row>`select s.*, a.* from (
      select * from sessions o where ${seenSession(access, sql.ref("o.namespace"), sql.ref("o.name"))}
        and (${namespace}::text is null or (namespace, name) > (${namespace}, ${after?.name ?? null}))
        order by namespace, name limit ${page.limit}) s ${counted(access)}
      order by s.namespace, s.name`.execute(store.db);
  return rows.map(toSession);
}

/** Where there is a session of this name. */
export async function namespacesOfSession(store: Store, name: string): Promise<string[]> {
  const { rows } = await store.pool.query<{ namespace: string }>(
    "select namespace from sessions where name = $1 order by namespace limit 20",
    [name],
  );
  return rows.map((row) => row.namespace);
}

export async function findSession(
  store: Store,
  namespace: string,
  name: string,
  access: Access,
): Promise<Session | undefined> {
  const { rows } = await sql<Row>`select s.*, a.* from sessions s ${counted(access)}
    where s.namespace = ${namespace} and s.name = ${name}
      and ${seenSession(access, sql.ref("s.namespace"), sql.ref("s.name"))}`.execute(store.db);
  return rows[0] === undefined ? undefined : toSession(rows[0]);
}

/** Whether its memory may be read and written: it is seen, or nobody's yet. */
export async function isSessionOpen(
  store: Store,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  access: Access,
): Promise<boolean> {
  const { rows } = await sql<{ open: boolean }>`
    select ${openSession(access, sql`${namespace}::text`, sql`${name}::text`)} as open`.execute(store.db);
  return rows[0]?.open === true;
}

/** Answers false when there is none. From then on its new intents are born so. */
export async function markSessionPaused(
  store: Store,
  namespace: string,
  name: string,
  paused: boolean,
): Promise<boolean> {
  const result = await store.pool.query(
    "update sessions set paused = $3 where namespace = $1 and name = $2",
    [namespace, name, paused],
  );
  return result.rowCount === 1;
}

/** Live intents of a session, the oldest first; of those that its pause holds, or not, if that is asked for. */
export async function aliveInSession(
  store: Store,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  held: boolean | null,
  limit: number,
): Promise<string[]> {
  const { rows } = await store.pool.query<{ id: string }>(
    `select d.id from intent_data d join intents i on i.id = d.id
      where d.session_namespace = $1 and d.session = $2 and i.status <> all($3::text[])
        and ($4::boolean is null or ('session' = any(i.paused_by)) = $4) order by d.created_at, d.id limit $5`,
    [namespace, name, textArrayLiteral(TERMINAL_STATUSES), held, limit],
  );
  return rows.map((row) => row.id);
}

export async function endedInSession(
  store: Store,
  namespace: string,
  name: string,
  limit: number,
): Promise<string[]> {
  const { rows } = await store.pool.query<{ id: string }>(
    `select d.id from intent_data d join intents i on i.id = d.id
      where d.session_namespace = $1 and d.session = $2 and i.status = any($3::text[]) order by d.id limit $4`,
    [namespace, name, textArrayLiteral(TERMINAL_STATUSES), limit],
  );
  return rows.map((row) => row.id);
}

/** The session and its own state, if no intent belongs to it any more. */
export function removeSession(store: Store, namespace: string, name: string): Promise<boolean> {
  return inTransaction(store.pool, async (client) => {
    // Held, so that no intent is born into it meanwhile.
    await client.query("select 1 from sessions where namespace = $1 and name = $2 for update", [
      namespace,
      name,
    ]);
    const { rowCount } = await client.query(
      `delete from sessions s where namespace = $1 and name = $2
        and not exists (select 1 from intent_data d where d.session_namespace = s.namespace and d.session = s.name)`,
      [namespace, name],
    );
    if (rowCount !== 1) return false;
    const scope = `session:${name}`;
    await client.query("delete from state_versions where namespace = $1 and scope = $2", [namespace, scope]);
    await client.query("delete from state_heads where namespace = $1 and scope = $2", [namespace, scope]);
    return true;
  });
}

/** Sessions in which nothing lives and nothing has happened for so long, the oldest first. */
export async function idleSessions(
  store: Store,
  namespace: string | null,
  idleMs: number,
  limit: number,
): Promise<{ namespace: string; name: string }[]> {
  const { rows } = await store.pool.query<{ namespace: string; name: string }>(
    `select s.namespace, s.name from sessions s where ($1::text is null or s.namespace = $1)
        and s.created_at <= perdure_now() - make_interval(secs => $2::float8 / 1000)
        and not exists (select 1 from intent_data d join intents i on i.id = d.id
          where d.session_namespace = s.namespace and d.session = s.name
            and (i.status <> all($3::text[]) or i.updated_at > perdure_now() - make_interval(secs => $2::float8 / 1000)))
      order by s.created_at, s.namespace, s.name limit $4`,
    [namespace, idleMs, textArrayLiteral(TERMINAL_STATUSES), limit],
  );
  return rows;
}

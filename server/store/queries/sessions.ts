// Sessions as groups of intents: lists, counts, who is alive in one.

import { type Status, TERMINAL_STATUSES } from "../../domain/lifecycle.ts";
import { textArrayLiteral } from "../binary.ts";
import type { Store } from "../connection.ts";

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

const COUNTED = `cross join lateral (
    select max(c.last) as last_activity_at, json_object_agg(c.status, c.n) filter (where c.status is not null) as counts
    from (select i.status, count(*)::int as n, max(i.updated_at) as last
      from intent_data d join intents i on i.id = d.id where d.session_namespace = s.namespace and d.session = s.name group by i.status) c) a`;

export interface SessionPage {
  /** Null: of all namespaces. */
  readonly namespace: string | null;
  readonly after: { readonly namespace: string; readonly name: string } | null;
  readonly limit: number;
}

/** By namespace and name. */
export async function listSessions(store: Store, page: SessionPage): Promise<Session[]> {
  const { rows } = await store.pool.query<Row>(
    `select s.*, a.* from (select * from sessions where ($1::text is null or namespace = $1)
        and ($2::text is null or (namespace, name) > ($2, $3)) order by namespace, name limit $4) s ${COUNTED}
      order by s.namespace, s.name`,
    [page.namespace, page.after?.namespace ?? null, page.after?.name ?? null, page.limit],
  );
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
): Promise<Session | undefined> {
  const { rows } = await store.pool.query<Row>(
    `select s.*, a.* from sessions s ${COUNTED} where s.namespace = $1 and s.name = $2`,
    [namespace, name],
  );
  return rows[0] === undefined ? undefined : toSession(rows[0]);
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
export async function removeSession(store: Store, namespace: string, name: string): Promise<boolean> {
  const client = await store.pool.connect();
  try {
    await client.query("begin");
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
    if (rowCount === 1) {
      const scope = `session:${name}`;
      await client.query("delete from state_versions where namespace = $1 and scope = $2", [
        namespace,
        scope,
      ]);
      await client.query("delete from state_heads where namespace = $1 and scope = $2", [namespace, scope]);
    }
    await client.query("commit");
    return rowCount === 1;
  } catch (error) {
    await client.query("rollback").catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
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

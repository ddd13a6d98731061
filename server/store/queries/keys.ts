// API keys as they are stored. Changes go with their audit entry in one transaction; a key's text never comes here.

import { sql } from "kysely";
import type { PoolClient } from "pg";
import type { Access, Verb } from "../../domain/access.ts";
import { inTransaction, type Store } from "../connection.ts";
import { grantable } from "../sight.ts";
import { type AuditEntry, appendAudit } from "./audit.ts";

export interface ApiKey {
  readonly id: string;
  readonly name: string;
  readonly family: string;
  readonly namespace: string;
  /** Canonical. */
  readonly address: string;
  readonly scopes: readonly Verb[];
  readonly patterns: readonly string[];
  readonly createdAt: number;
  readonly createdBy: string;
  readonly expiresAt: number | null;
  readonly lifetimeMs: number | null;
  readonly revokedAt: number | null;
  readonly lastUsedAt: number | null;
  /** Neither revoked nor expired, by the database's clock. */
  readonly live: boolean;
}

export interface NewKey
  extends Pick<
    ApiKey,
    "id" | "name" | "family" | "namespace" | "address" | "scopes" | "patterns" | "createdBy"
  > {
  readonly digest: Buffer;
  readonly lifetimeMs: number | null;
}

const LIVE = "(revoked_at is null and (expires_at is null or expires_at > perdure_now()))";
const COLUMNS = `id, name, family, namespace, address, scopes, patterns, created_at as "createdAt", created_by as "createdBy",
  expires_at as "expiresAt", lifetime_ms as "lifetimeMs", revoked_at as "revokedAt", last_used_at as "lastUsedAt", ${LIVE} as live`;

const BY_DIGEST = {
  name: "key_by_digest",
  text: `select ${COLUMNS}, (extract(epoch from expires_at - perdure_now()) * 1000)::float8 as "expiresInMs"
    from api_keys where digest = $1 and ${LIVE}`,
};

/** A live key; its remaining time in milliseconds, if it expires at all. */
export async function findLiveKey(
  store: Store,
  digest: Buffer,
): Promise<(ApiKey & { readonly expiresInMs: number | null }) | undefined> {
  return (await store.pool.query<ApiKey & { expiresInMs: number | null }>({ ...BY_DIGEST, values: [digest] }))
    .rows[0];
}

/** Of these keys, those that may be used no more. */
export async function endedKeys(store: Store, ids: readonly string[]): Promise<string[]> {
  const { rows } = await store.pool.query<{ id: string }>(
    `select n.id from unnest($1::uuid[]) as n(id) where not exists (select 1 from api_keys k where k.id = n.id and ${LIVE})`,
    [ids],
  );
  return rows.map((row) => row.id);
}

export interface AdminKeys {
  /** Whether there has ever been one, ended or not: from then on the database is not anybody's. */
  readonly made: boolean;
  readonly live: boolean;
}

/** Keys that administer all namespaces. */
export async function adminKeys(db: Pick<PoolClient, "query">): Promise<AdminKeys> {
  const { rows } = await db.query<AdminKeys>(
    `select count(*) > 0 as made, coalesce(bool_or(${LIVE}), false) as live from api_keys
      where 'admin' = any(scopes) and '*' = any(patterns)`,
  );
  return rows[0] as AdminKeys;
}

export interface KeyPage {
  /** Only keys are listed that it could have made itself. */
  readonly access: Access;
  readonly after: { readonly createdAt: number; readonly id: string } | null;
  readonly limit: number;
}

/** The newest first. */
export async function listKeys(store: Store, page: KeyPage): Promise<ApiKey[]> {
  const { access, after } = page;
  const at = after?.createdAt ?? null;
  const { rows } =
    await sql<ApiKey>`select ${sql.raw(COLUMNS)} from api_keys k where ${grantable(access, "k")}
      and (${at}::float8 is null
        or (date_trunc('milliseconds', created_at), id) < (to_timestamp(${at}::float8 / 1000), ${after?.id ?? null}::uuid))
    order by date_trunc('milliseconds', created_at) desc, id desc limit ${page.limit}`.execute(store.db);
  return rows;
}

export async function findKey(store: Store, id: string): Promise<ApiKey | undefined> {
  return (await store.pool.query<ApiKey>(`select ${COLUMNS} from api_keys where id = $1`, [id])).rows[0];
}

export function saveKey(store: Pick<Store, "pool">, key: NewKey, audit: AuditEntry): Promise<ApiKey> {
  return inTransaction(store.pool, async (client) => {
    const saved = await insertKey(client, key);
    await appendAudit(client, audit);
    return saved;
  });
}

async function insertKey(client: PoolClient, key: NewKey): Promise<ApiKey> {
  const { rows } = await client.query<ApiKey>(
    `insert into api_keys (id, digest, name, family, namespace, address, scopes, patterns, created_by, lifetime_ms, created_at, expires_at)
      select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10::bigint, now.at, now.at + make_interval(secs => $10::bigint / 1000.0)
      from (select perdure_now() as at) now returning ${COLUMNS}`,
    [
      key.id,
      key.digest,
      key.name,
      key.family,
      key.namespace,
      key.address,
      key.scopes,
      key.patterns,
      key.createdBy,
      key.lifetimeMs,
    ],
  );
  return rows[0] as ApiKey;
}

/** The new key beside the old one, which lives on for `graceMs` at most; any other of the family ends now. */
export function replaceKey(
  store: Store,
  oldId: string,
  key: NewKey,
  graceMs: number,
  audit: AuditEntry,
): Promise<ApiKey | undefined> {
  return inTransaction(store.pool, async (client) => {
    // One rotation of a family at a time.
    await client.query("select 1 from api_keys where family = $1 order by id for update", [key.family]);
    const ended = await client.query(
      `update api_keys set expires_at = least(expires_at, perdure_now() + make_interval(secs => $2::bigint / 1000.0))
        where id = $1 and ${LIVE}`,
      [oldId, graceMs],
    );
    if (ended.rowCount === 0) return undefined;
    await client.query(
      `update api_keys set revoked_at = perdure_now() where family = $1 and id <> $2 and ${LIVE}`,
      [key.family, oldId],
    );
    const saved = await insertKey(client, key);
    await appendAudit(client, audit);
    return saved;
  });
}

/** Answers false when it had ended before. */
export function endKey(store: Store, id: string, audit: AuditEntry): Promise<boolean> {
  return inTransaction(store.pool, async (client) => {
    const { rowCount } = await client.query(
      "update api_keys set revoked_at = perdure_now() where id = $1 and revoked_at is null",
      [id],
    );
    if (rowCount === 0) return false;
    await appendAudit(client, audit);
    return true;
  });
}

/** Writes when keys were last used, each at most once a minute whatever replicas say. */
export async function touchKeys(store: Store, ids: readonly string[]): Promise<void> {
  await store.pool.query(
    `update api_keys set last_used_at = perdure_now() where id = any($1::uuid[])
      and (last_used_at is null or last_used_at < perdure_now() - interval '1 minute')`,
    [ids],
  );
}

// The audit log: who did what to what, when and from where. Append-only.

import type { Store } from "../connection.ts";

export interface AuditEntry {
  readonly actor: string;
  readonly keyId: string | null;
  /** The actor's. */
  readonly namespace: string;
  readonly action: string;
  readonly target: string | null;
  readonly source: string;
  /** Never a secret, never a payload. */
  readonly details: Readonly<Record<string, unknown>> | null;
}

export interface AuditRecord extends Omit<AuditEntry, "details"> {
  readonly id: number;
  readonly at: number;
  readonly details: string | null;
}

/** A pool, or the transaction in which what it tells of happens. */
interface Queries {
  query(text: string, values: unknown[]): Promise<unknown>;
}

export async function appendAudit(db: Queries, entry: AuditEntry): Promise<void> {
  const { actor, keyId, namespace, action, target, source, details } = entry;
  await db.query(
    `insert into audit_log (at, actor, key_id, namespace, action, target, source, details)
      values (perdure_now(), $1, $2, $3, $4, $5, $6, $7)`,
    [actor, keyId, namespace, action, target, source, details === null ? null : JSON.stringify(details)],
  );
}

export interface AuditPage {
  /** Null: of all. */
  readonly namespace: string | null;
  readonly before: number | null;
  readonly limit: number;
}

/** The newest first. */
export async function listAudit(store: Store, page: AuditPage): Promise<AuditRecord[]> {
  const { rows } = await store.pool.query<AuditRecord>(
    `select id, at, actor, key_id as "keyId", namespace, action, target, source, details from audit_log
      where ($1::text is null or namespace = $1) and ($2::bigint is null or id < $2) order by id desc limit $3`,
    [page.namespace, page.before, page.limit],
  );
  return rows;
}

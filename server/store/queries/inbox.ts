// Inboxes: what came back to whoever asked for it. A thread is an ended intent with a reply_to; nothing is stored for it.

import { sql } from "kysely";
import type { TerminalStatus } from "../../domain/lifecycle.ts";
import type { RawJson } from "../../domain/raw-json.ts";
import type { Store } from "../connection.ts";
import { rawOrNull } from "../rows.ts";

export interface Thread {
  readonly intentId: string;
  readonly intentType: string;
  readonly status: TerminalStatus;
  readonly fromAgent: string;
  readonly toAgent: string;
  readonly replyTo: string;
  readonly createdAt: number;
  readonly finishedAt: number;
  readonly result: RawJson | null;
  readonly error: RawJson | null;
}

export interface InboxPage {
  /** Canonical. */
  readonly owner: string;
  readonly after: { readonly createdAt: number; readonly id: string } | null;
  readonly limit: number;
  /** A page ends here, whatever its limit says. */
  readonly maxBytes: number;
}

interface Row {
  id: string;
  intent_type: string;
  status: TerminalStatus;
  from_agent: string;
  to_agent: string;
  reply_to: string;
  created_at: number;
  finished_at: number;
  result: string | null;
  error: string | null;
}

const COLUMNS = sql`d.id, d.intent_type, o.status, d.from_agent, d.to_agent_as_sent as to_agent, d.reply_to, d.created_at,
  o.finished_at, o.result, o.error`;
const THREADS = sql`intent_data d join outcomes o on o.intent_id = d.id`;

const toThread = (row: Row): Thread => ({
  intentId: row.id,
  intentType: row.intent_type,
  status: row.status,
  fromAgent: row.from_agent,
  toAgent: row.to_agent,
  replyTo: row.reply_to,
  createdAt: row.created_at,
  finishedAt: row.finished_at,
  result: rawOrNull(row.result),
  error: rawOrNull(row.error),
});

/** The newest first: at least one if there is any. */
export async function listThreads(
  store: Store,
  { owner, after, limit, maxBytes }: InboxPage,
): Promise<{ readonly threads: readonly Thread[]; readonly more: boolean }> {
  const at = after?.createdAt ?? null;
  const { rows } = await sql<Row & { before: number }>`select * from (
      select ${COLUMNS}, (sum(coalesce(octet_length(o.result::text), 0) + coalesce(octet_length(o.error::text), 0))
        over (order by d.created_at desc, d.id desc))::float8 as bytes, row_number() over (order by d.created_at desc, d.id desc) as place
      from ${THREADS} where d.reply_to_address = ${owner}
        and (${at}::float8 is null or (d.created_at, d.id) < (to_timestamp(${at}::float8 / 1000), ${after?.id ?? null}::uuid))
      order by d.created_at desc, d.id desc limit ${limit + 1}) t
    where t.bytes <= ${maxBytes} or t.place = 1 order by t.created_at desc, t.id desc`.execute(store.db);
  const threads = rows.slice(0, limit).map(toThread);
  return { threads, more: rows.length > limit || (await isBehind(store, owner, threads.at(-1))) };
}

/** A page may have ended early, by its bytes. */
async function isBehind(store: Store, owner: string, last: Thread | undefined): Promise<boolean> {
  if (last === undefined) return false;
  const { rows } = await sql<{ found: boolean }>`select exists (select 1 from ${THREADS}
    where d.reply_to_address = ${owner}
      and (d.created_at, d.id) < (to_timestamp(${last.createdAt}::float8 / 1000), ${last.intentId}::uuid)) as found`.execute(
    store.db,
  );
  return rows[0]?.found === true;
}

/** Undefined also for one of another's inbox, and for an intent that has not ended. */
export async function findThread(store: Store, owner: string, intentId: string): Promise<Thread | undefined> {
  const { rows } =
    await sql<Row>`select ${COLUMNS} from ${THREADS} where d.id = ${intentId}::uuid and d.reply_to_address = ${owner}`.execute(
      store.db,
    );
  return rows[0] === undefined ? undefined : toThread(rows[0]);
}

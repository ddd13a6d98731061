// Reads about parents and children: the outbox, what a parent waits for, children that still live.

import { TERMINAL_EVENTS } from "../../domain/event.ts";
import { TERMINAL_STATUSES } from "../../domain/lifecycle.ts";
import { waitFromJson } from "../../domain/wait-json.ts";
import { encodeArray } from "../binary.ts";
import type { Store } from "../connection.ts";

export interface OutboxEntry {
  readonly id: number;
  readonly kind: "child_end" | "cascade" | "cancel";
  readonly parentId: string;
  readonly childId: string | null;
}

const OUTBOX = {
  name: "outbox_read",
  text: "select id, kind, parent_id, child_id from outbox order by id limit $1",
};

/** The oldest entries. */
export async function readOutbox(store: Store, limit: number): Promise<OutboxEntry[]> {
  const { rows } = await store.pool.query<{
    id: number;
    kind: OutboxEntry["kind"];
    parent_id: string;
    child_id: string | null;
  }>({ ...OUTBOX, values: [limit] });
  return rows.map((row) => ({
    id: Number(row.id),
    kind: row.kind,
    parentId: row.parent_id,
    childId: row.child_id,
  }));
}

const AWAITED = {
  name: "awaited_intents",
  text: `select s.wait from intents i join steps s on s.intent_id = i.id and s.key = any(i.open_steps)
    where i.id = $1 and i.status = 'WAITING' and s.status = 'waiting'`,
};

/** The children that an intent is parked on. */
export async function awaitedIntents(store: Store, intentId: string): Promise<string[]> {
  const { rows } = await store.pool.query<{ wait: string | null }>({ ...AWAITED, values: [intentId] });
  return rows.flatMap(({ wait }) => {
    const awaited = wait === null ? null : waitFromJson(JSON.parse(wait));
    return awaited?.kind === "intents" ? awaited.ids : [];
  });
}

// Whoever was born since, to a parent that was reopened, is none of them.
const ORPHANS = {
  name: "children_orphaned",
  text: `select d.id from intent_data d join intents i on i.id = d.id
    where d.parent_intent_id = $1 and not d.detached and i.status <> all($2::text[])
      and d.created_at <= (select max(e.at) from events e where e.intent_id = $1 and e.type = any($4::text[]))
    order by d.created_at, d.id limit $3`,
};
const TAKES_CHILDREN_ALONG = [TERMINAL_EVENTS.CANCELED, TERMINAL_EVENTS.TIMED_OUT];

/** Children that lived when their parent was canceled or timed out, and still do. */
export async function orphans(store: Store, parentId: string, limit: number): Promise<string[]> {
  const terminal = encodeArray("text", TERMINAL_STATUSES);
  const values = [parentId, terminal, limit, encodeArray("text", TAKES_CHILDREN_ALONG)];
  const { rows } = await store.pool.query<{ id: string }>({ ...ORPHANS, values });
  return rows.map((row) => row.id);
}

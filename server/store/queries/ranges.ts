// Parts of several logs at once, with the intents they belong to: what another replica says it has written.

import type { IntentEvent } from "../../domain/event.ts";
import type { Intent } from "../../domain/intent.ts";
import { encodeArray } from "../binary.ts";
import type { Store } from "../connection.ts";
import type { EventsTable, IntentsTable } from "../database.ts";
import { toIntent } from "../rows.ts";

export interface LogRange {
  readonly intentId: string;
  /** Seqs, both inclusive. */
  readonly from: number;
  readonly to: number;
}

/** Details beyond this stay where they are. */
const DETAILS_MAX = 4_096;
const EVENTS_MAX = 5_000;

const EVENTS = {
  name: "feed_ranges",
  text: `select e.intent_id, e.seq, e.namespace, e.type, e.status, e.waiting_reason, e.attempt, e.actor, e.at,
      case when octet_length(e.details::text) <= ${DETAILS_MAX} then e.details end as details
    from unnest($1::uuid[], $2::int[], $3::int[]) as r(id, low, high)
    join events e on e.intent_id = r.id and e.seq between r.low and r.high order by e.at, e.intent_id, e.seq limit ${EVENTS_MAX + 1}`,
};
const INTENTS = { name: "feed_intents", text: "select * from intents where id = any($1::uuid[])" };

/** In about the order in which it happened. Throws when it is more than can be read at once. */
export async function readRanges(
  store: Store,
  ranges: readonly LogRange[],
): Promise<{ readonly intent: Intent; readonly event: IntentEvent }[]> {
  const ids = ranges.map(({ intentId }) => intentId);
  const values = [ids, ranges.map(({ from }) => from), ranges.map(({ to }) => to)];
  const { rows } = await store.pool.query<EventsTable>({ ...EVENTS, values });
  if (rows.length > EVENTS_MAX) throw new Error(`more than ${EVENTS_MAX} events at once`);
  const found = await store.pool.query<IntentsTable>({ ...INTENTS, values: [encodeArray("uuid", ids)] });
  const intents = new Map(found.rows.map((row) => [row.id, toIntent(row)]));
  return rows.flatMap((row) => {
    const intent = intents.get(row.intent_id);
    return intent === undefined ? [] : [{ intent, event: toEvent(row) }];
  });
}

const toEvent = (row: EventsTable): IntentEvent => ({
  intentId: row.intent_id,
  namespace: row.namespace,
  seq: row.seq,
  type: row.type,
  status: row.status,
  waitingReason: row.waiting_reason,
  attempt: row.attempt,
  actor: row.actor,
  at: row.at,
  details: row.details === null ? null : JSON.parse(String(row.details)),
});

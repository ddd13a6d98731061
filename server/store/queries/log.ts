// Reads of an intent's log and steps.

import type { Kysely } from "kysely";
import { type IntentEvent, TERMINAL_EVENTS } from "../../domain/event.ts";
import type { Step } from "../../domain/intent.ts";
import { encodeArray } from "../binary.ts";
import { coalesced } from "../coalesce.ts";
import type { Store } from "../connection.ts";
import type { Database, EventsTable, StepsTable } from "../database.ts";
import { rawOrNull, toStep } from "../rows.ts";

function toEvent(row: EventsTable): IntentEvent {
  return {
    intentId: row.intent_id,
    namespace: row.namespace,
    seq: row.seq,
    type: row.type,
    status: row.status,
    waitingReason: row.waiting_reason,
    attempt: row.attempt,
    actor: row.actor,
    at: row.at,
    details: rawOrNull(row.details),
  };
}

/** A page of events ends here, unless told otherwise: results may be large, and a page has to fit into memory. */
const PAGE_BYTES = 4 * 1024 * 1024;

const EVENTS = {
  name: "events_after",
  text: `select * from (
      select e.*, sum(b.bytes) over (order by e.seq) - b.bytes as bytes_before
      from events e cross join lateral (select coalesce(octet_length(e.details::text), 0) as bytes) b
      where e.intent_id = $1 and e.seq > $2 order by e.seq limit $3) p
    where bytes_before <= $4 order by seq`,
};

/** Events after `since` (exclusive), oldest first: at least one if there is any, at most `limit`. */
export async function readEvents(
  store: Store,
  intentId: string,
  since: number,
  limit: number,
  maxBytes: number = PAGE_BYTES,
): Promise<IntentEvent[]> {
  const { rows } = await store.pool.query<EventsTable>({
    ...EVENTS,
    values: [intentId, since, limit, maxBytes],
  });
  return rows.map(toEvent);
}

const LAST_END = {
  name: "events_last_end",
  text: `select e.* from unnest($1::uuid[]) as w(id) cross join lateral (
      select * from events where intent_id = w.id and type = any($2::text[]) order by seq desc limit 1) e`,
};

async function readLastEnds(store: Store, ids: readonly string[]): Promise<Map<string, IntentEvent>> {
  const values = [encodeArray("uuid", ids), encodeArray("text", Object.values(TERMINAL_EVENTS))];
  const { rows } = await store.pool.query<EventsTable>({ ...LAST_END, values });
  return new Map(rows.map((row) => [row.intent_id, toEvent(row)]));
}

/** Results and the like may be large: a few at a time. */
const ENDS_AT_ONCE = 16;

/** The entry that tells of its end, if it has ended. */
export const readLastEnd = coalesced(readLastEnds, ENDS_AT_ONCE);

/** The first retained seq: a cursor below it has lost events to retention. */
export async function firstSeq(db: Kysely<Database>, intentId: string): Promise<number | undefined> {
  return (await db.selectFrom("intents").select("first_seq").where("id", "=", intentId).executeTakeFirst())
    ?.first_seq;
}

const STEPS = {
  name: "steps_by_intent",
  text: `select * from steps where intent_id = any($1::uuid[])
    order by intent_id, position nulls last, started_at, key`,
};

async function readStepsOfMany(store: Store, intentIds: readonly string[]): Promise<Map<string, Step[]>> {
  const steps = new Map<string, Step[]>(intentIds.map((id) => [id, []]));
  const { rows } = await store.pool.query<StepsTable>({
    ...STEPS,
    values: [encodeArray("uuid", intentIds)],
  });
  for (const row of rows) steps.get(row.intent_id)?.push(toStep(row));
  return steps;
}

const STEPS_AT_ONCE = 16;
const readStepsOf = coalesced(readStepsOfMany, STEPS_AT_ONCE);

/** All steps of an intent: declared ones in plan order, then the others as they began. */
export const readSteps = async (store: Store, intentId: string): Promise<readonly Step[]> =>
  (await readStepsOf(store, intentId)) ?? [];

const IN_DOUBT = {
  name: "steps_in_doubt",
  text: "select key from steps where intent_id = $1 and interrupted and status not in ('done', 'superseded') order by key",
};

/** Steps whose effect may or may not have happened: begun in an attempt that ended without a record. */
export async function stepsInDoubt(store: Store, intentId: string): Promise<string[]> {
  const { rows } = await store.pool.query<{ key: string }>({ ...IN_DOUBT, values: [intentId] });
  return rows.map((row) => row.key);
}

/** Events that tell the story of the attempts, oldest first. */
export async function readAttemptEvents(
  db: Kysely<Database>,
  intentId: string,
  limit: number,
): Promise<IntentEvent[]> {
  const rows = await db
    .selectFrom("events")
    .selectAll()
    .where("intent_id", "=", intentId)
    .where("type", "in", [
      "intent.delivered",
      "intent.lost",
      "intent.released",
      "intent.retry_scheduled",
      "intent.retried",
      "intent.waiting",
      "intent.completed",
      "intent.failed",
      "intent.canceled",
      "intent.timed_out",
    ])
    .orderBy("seq", "desc")
    .limit(limit)
    .execute();
  return rows.reverse().map(toEvent);
}

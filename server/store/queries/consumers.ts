// Reads of consumers for explanations and lists.

import { type Kysely, sql } from "kysely";
import type { Access } from "../../domain/access.ts";
import type { Store } from "../connection.ts";
import type { ConsumersTable, Database } from "../database.ts";
import { reachable } from "../sight.ts";

export async function findConsumer(db: Kysely<Database>, id: string): Promise<ConsumersTable | undefined> {
  return db.selectFrom("consumers").selectAll().where("id", "=", id).executeTakeFirst();
}

export interface ConsumerPage {
  readonly access: Access;
  /** Canonical; null: of every address. */
  readonly address: string | null;
  readonly after: string | null;
  readonly limit: number;
}

export interface ConsumerRow {
  readonly id: string;
  readonly address: string;
  readonly name: string;
  readonly mode: ConsumersTable["mode"];
  readonly capacity: number;
  readonly createdAt: number;
  readonly seenAt: number;
  readonly leaseUntil: number | null;
  readonly online: boolean;
  /** Its newest stream is open, as far as is known. */
  readonly connected: boolean;
  readonly heldCount: number;
  /** Some of what it holds, with the attempt. */
  readonly held: readonly { readonly intent_id: string; readonly attempt: number }[];
}

/** Of one consumer, intents that are named. */
const HELD_SHOWN = 20;

/** Consumers whose lease runs, or that were there within a day. */
export async function listConsumers(store: Store, page: ConsumerPage): Promise<ConsumerRow[]> {
  const { access, address, after, limit } = page;
  const { rows } = await sql<Omit<ConsumerRow, "held"> & { held: string }>`
    select k.id, k.address, k.name, k.mode, k.capacity, k.created_at as "createdAt", k.seen_at as "seenAt",
      k.lease_until as "leaseUntil", coalesce(k.lease_until > perdure_now(), false) as online,
      k.closed_stream_no < k.stream_no as connected,
      (select count(*)::int from leases l where l.consumer_id = k.id) as "heldCount",
      (select coalesce(json_agg(json_build_object('intent_id', h.intent_id, 'attempt', h.attempt)), '[]'::json)::text
        from (select intent_id, attempt from leases l where l.consumer_id = k.id order by intent_id limit ${HELD_SHOWN}) h) as held
    from consumers k where ${reachable(access, "k")} and (${address}::text is null or k.address = ${address})
      and (k.lease_until > perdure_now() or k.seen_at > perdure_now() - interval '1 day')
      and (${after}::uuid is null or k.id > ${after}::uuid)
    order by k.id limit ${limit}`.execute(store.db);
  return rows.map((row) => ({ ...row, held: JSON.parse(row.held) }));
}

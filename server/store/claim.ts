// The queue's head: locks claimable intents of many addresses at once. SKIP LOCKED never waits, so it may lock in
// queue order without risking a deadlock; a row another transaction holds is simply left for the next claim.

import { encodeArray, textArrayLiteral } from "./binary.ts";
import type { IntentsTable } from "./database.ts";
import { toIntent } from "./rows.ts";
import type { Transaction } from "./transaction.ts";
import { Workspace } from "./workspace.ts";

export interface ClaimGroup {
  readonly address: string;
  /** Only these types; null takes all. */
  readonly intentTypes: readonly string[] | null;
  readonly limit: number;
}

const HEADS = {
  name: "claim_heads",
  text: `select i.*, g.n::int as group_no from unnest($1::text[], $2::text[], $3::int4[]) with ordinality as g(address, types, free, n)
    cross join lateral (
      select r.intent_id, r.rank, r.queue_at from ready r
      where r.to_agent = g.address and (g.types is null or r.intent_type = any(g.types::text[]))
      order by r.rank, r.queue_at, r.intent_id limit g.free) h
    join intents i on i.id = h.intent_id
    order by g.n, h.rank, h.queue_at, h.intent_id
    for update of i skip locked`,
};

const CLOCK = {
  name: "clock_and_transaction",
  text: "select perdure_now() as now, pg_current_xact_id()::text as xid",
};

export interface ClaimedHeads {
  readonly work: Workspace;
  /** Intent ids per group, in queue order. */
  readonly heads: readonly (readonly string[])[];
}

/** Locks the heads; the row read under the lock, not the queue entry, says whether an intent may be delivered. */
export async function lockHeads(tx: Transaction, groups: readonly ClaimGroup[]): Promise<ClaimedHeads> {
  const rowsSent = tx.query<IntentsTable & { first_seq: number; group_no: number }>(HEADS, [
    encodeArray(
      "text",
      groups.map((g) => g.address),
    ),
    encodeArray(
      "text",
      groups.map((g) => (g.intentTypes === null ? null : textArrayLiteral(g.intentTypes))),
    ),
    encodeArray(
      "int4",
      groups.map((g) => g.limit),
    ),
  ]);
  const clockSent = tx.query<{ now: number; xid: string }>(CLOCK, []);
  const [rows, [clock]] = await Promise.all([rowsSent, clockSent]);
  if (clock === undefined) throw new Error("the database told no time");
  tx.identify(clock.xid);
  const work = new Workspace(clock.now);
  const heads: string[][] = groups.map(() => []);
  for (const row of rows) {
    if (work.has(row.id)) continue;
    work.hold(toIntent(row));
    heads[row.group_no - 1]?.push(row.id);
  }
  return { work, heads };
}

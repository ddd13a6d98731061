// The queue's head: locks claimable intents of many addresses at once. SKIP LOCKED never waits, so it may lock in
// queue order without risking a deadlock; a row another transaction holds is simply left for the next claim.

import { encodeArray, textArrayLiteral } from "./binary.ts";
import { CLOCK, type ClockRow } from "./clock.ts";
import type { Store } from "./connection.ts";
import type { IntentsTable } from "./database.ts";
import { partsFrom, type QueueEntry, type QueueHeads, WITHIN_PART } from "./queue-heads.ts";
import { toIntent } from "./rows.ts";
import type { Transaction } from "./transaction.ts";
import { Workspace } from "./workspace.ts";

export interface ClaimGroup {
  readonly address: string;
  /** Only these types; null takes all. */
  readonly intentTypes: readonly string[] | null;
  /** Only what nobody had before, or only what somebody had; left out: both. */
  readonly first?: boolean | null;
  readonly limit: number;
}

/** Entries looked at beyond those that are wanted: heads that others hold or that are overdue do not hide what is behind them. */
const LOOK_BEYOND = 32;

// An overdue intent is its deadline's, and keeps its entry until the sweeper comes.
const IN_TIME = "(i.deadline_at is null or i.deadline_at > perdure_now())";

const isPaused = (address: string): string =>
  `exists (select 1 from agents p where p.address = ${address} and p.paused_at is not null)`;

/** To an agent that is paused nothing is delivered (S5). */
const GROUPS = `(select u.* from unnest($1::text[], $2::text[], $3::int4[], $4::bool[]) with ordinality as u(address, types, free, first, n)
    where not ${isPaused("u.address")}) as g`;
const WANTED = "(g.first is null or g.first = (i.attempt = 0))";
const WINDOW = `select r.intent_id, r.rank, r.queue_at from ${partsFrom(5)}
  cross join lateral (select r.intent_id, r.rank, r.queue_at from ready r
    where ${WITHIN_PART} and (g.types is null or r.intent_type = any(g.types::text[]))
    order by r.rank, r.queue_at, r.intent_id limit g.free + ${LOOK_BEYOND}) r
  where s.address = g.address order by r.rank, r.queue_at, r.intent_id limit g.free + ${LOOK_BEYOND}`;

// The limit stands above the lock: a locked row is passed over, and the next one taken in its place.
const HEADS = {
  name: "claim_heads",
  text: `select x.*, g.n::int as group_no from ${GROUPS}
    cross join lateral (
      select i.*, h.rank as ready_rank, h.queue_at as ready_at from (${WINDOW}) h
      join intents i on i.id = h.intent_id where ${IN_TIME} and ${WANTED}
      order by h.rank, h.queue_at, h.intent_id limit g.free for update of i skip locked) x
    order by g.n, x.ready_rank, x.ready_at, x.id`,
};

const QUEUED = {
  name: "claim_queued",
  text: `select g.n::int as group_no, h.rank, min(h.queue_at) as first_at, count(*) filter (where ${IN_TIME} and ${WANTED})::int as queued
    from ${GROUPS} cross join lateral (${WINDOW}) h join intents i on i.id = h.intent_id group by g.n, h.rank`,
};

export interface ClaimedHeads {
  readonly work: Workspace;
  /** Intent ids per group, in queue order. */
  readonly heads: readonly (readonly string[])[];
  /** Per group: more could be taken, but others hold it just now. */
  readonly contested: readonly boolean[];
}

/** Locks the heads; the row read under the lock, not the queue entry, says whether an intent may be delivered. */
export async function lockHeads(
  tx: Transaction,
  queues: QueueHeads,
  groups: readonly ClaimGroup[],
): Promise<ClaimedHeads> {
  const asked = [...groupColumns(groups), ...queues.parts(groups.map((g) => g.address))];
  const look = queues.look();
  let found: readonly QueuedRow[] = [];
  try {
    const [rows, queued, [clock]] = await Promise.all([
      tx.query<IntentsTable & { group_no: number }>(HEADS, asked),
      tx.query<QueuedRow>(QUEUED, asked),
      tx.query<ClockRow>(CLOCK, []),
    ]);
    found = queued;
    if (clock === undefined) throw new Error("the database told no time");
    tx.identify(clock);
    const work = new Workspace(clock.now);
    const heads: string[][] = groups.map(() => []);
    for (const row of rows) {
      if (work.has(row.id)) continue;
      work.hold(toIntent(row));
      heads[row.group_no - 1]?.push(row.id);
    }
    const contested = groups.map((group, index) => {
      const inReach = queued.reduce((sum, row) => sum + (row.group_no - 1 === index ? row.queued : 0), 0);
      return Math.min(inReach, group.limit) > (heads[index]?.length ?? 0);
    });
    return { work, heads, contested };
  } finally {
    look.close(firstsOf(groups, found));
  }
}

interface QueuedRow {
  readonly group_no: number;
  readonly rank: number;
  readonly first_at: number;
  readonly queued: number;
}

/** Where the ranks of these queues begin: only who takes every type sees that. */
function firstsOf(groups: readonly ClaimGroup[], queued: readonly QueuedRow[]): QueueEntry[] {
  return queued.flatMap(({ group_no, rank, first_at }) => {
    const group = groups[group_no - 1];
    if (group === undefined || group.intentTypes !== null) return [];
    return [{ address: group.address, rank, queueAt: first_at }];
  });
}

const groupColumns = (groups: readonly ClaimGroup[]): Buffer[] => [
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
  encodeArray(
    "bool",
    groups.map((g) => g.first ?? null),
  ),
];

const WITH_WORK = {
  name: "addresses_with_work",
  text: `select distinct s.address from ${partsFrom(1)} cross join lateral (select 1 from ready r where ${WITHIN_PART} limit 1) x
    where not ${isPaused("s.address")}`,
};

/**
 * Those of the addresses whose queue is not empty. Asked before a claim: that locks consumers, and whoever hands a new intent over at
 * that moment would find them busy.
 */
export async function addressesWithWork(store: Store, addresses: readonly string[]): Promise<Set<string>> {
  const values = store.queues.parts(addresses);
  // Where the claim is going to be made, and plans are kept: planning takes ten times as long as looking.
  const { rows } = await store.transactors.query<{ address: string }>({ ...WITH_WORK, values });
  return new Set(rows.map((row) => row.address));
}

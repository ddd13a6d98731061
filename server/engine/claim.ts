// Claiming: queue heads become open attempts of consumers with a running lease, the newest open stream and free
// capacity, checked under the consumer's lock (D3, I7, I15).

import { EVERYTHING } from "../domain/access.ts";
import { mayTake } from "../domain/consumer.ts";
import { deliver } from "../domain/decide/attempt.ts";
import type { Actor } from "../domain/intent.ts";
import { Refusal } from "../domain/refusal.ts";
import { type ClaimGroup, lockHeads } from "../store/claim.ts";
import { type ConsumerRow, countHeld, lockConsumers } from "../store/consumers.ts";
import { HeldUp } from "../store/held-up.ts";
import { takerOf } from "../store/slots.ts";
import { transact } from "../store/transaction.ts";
import type { Workspace } from "../store/workspace.ts";
import type { Engine } from "./context.ts";

export interface ClaimRequest {
  readonly consumerId: string;
  readonly streamNo: number;
  readonly want: number;
}

export interface Delivered {
  readonly consumerId: string;
  readonly intentId: string;
  readonly attempt: number;
}

export interface ClaimAnswer {
  readonly delivered: readonly Delivered[];
  /** What each consumer held before, as the database knows it. */
  readonly held: ReadonlyMap<string, number>;
  /** Addresses where more could have been taken, had not others held it: worth another look very soon. */
  readonly contested: readonly string[];
}

interface Candidate {
  readonly row: ConsumerRow;
  free: number;
}

const CLAIM_MAX = 200;

export async function claimIntents(engine: Engine, requests: readonly ClaimRequest[]): Promise<ClaimAnswer> {
  if (requests.length === 0) return { delivered: [], held: new Map(), contested: [] };
  try {
    return await claim(engine, requests, false);
  } catch (error) {
    if (!(error instanceof HeldUp)) throw error;
    // A server that was stopped holds one of them: the others get their work all the same.
    return claim(engine, requests, true);
  }
}

async function claim(
  engine: Engine,
  requests: readonly ClaimRequest[],
  freeOnly: boolean,
): Promise<ClaimAnswer> {
  const { value, changes } = await transact(engine.store, async (tx) => {
    const ids = requests.map((request) => request.consumerId);
    // Sent together, run in this order: the count is a later statement and sees what the lock waited for.
    const locked = lockConsumers(tx, ids, freeOnly);
    const [rows, held] = await Promise.all([locked, countHeld(tx, ids, locked)]);
    const groups = groupCandidates(rows, held, requests);
    if (groups.length === 0) return { delivered: [], held, contested: [] };
    const { work, heads, contested } = await lockHeads(
      tx,
      engine.store.queues,
      groups.map((group) => group.claim),
    );
    const delivered = groups.flatMap((group, index) => assign(work, group.candidates, heads[index] ?? []));
    work.settle();
    tx.write(work);
    const addresses = groups.flatMap(({ claim }, index) => (contested[index] ? [claim.address] : []));
    return { delivered, held, contested: addresses };
  });
  engine.committed(changes);
  return value;
}

interface Group {
  readonly candidates: readonly Candidate[];
  readonly claim: ClaimGroup;
}

/** Consumers that may take the same intents share one look at the queue. */
function groupCandidates(
  rows: readonly ConsumerRow[],
  held: ReadonlyMap<string, number>,
  requests: readonly ClaimRequest[],
): Group[] {
  const wanted = new Map(requests.map((request) => [request.consumerId, request]));
  const groups = new Map<string, Candidate[]>();
  for (const row of rows) {
    const request = wanted.get(row.id);
    if (request === undefined || !mayTake(takerOf(row), request.streamNo, row.now)) continue;
    const free = Math.min(request.want, row.capacity - (held.get(row.id) ?? 0));
    if (free <= 0) continue;
    const key = JSON.stringify([row.address, row.intent_types]);
    groups.set(key, [...(groups.get(key) ?? []), { row, free }]);
  }
  return [...groups.values()].flatMap((candidates) => {
    const first = candidates[0]?.row;
    if (first === undefined) return [];
    const total = candidates.reduce((sum, candidate) => sum + candidate.free, 0);
    const claim = {
      address: first.address,
      intentTypes: first.intent_types,
      limit: Math.min(CLAIM_MAX, total),
    };
    return [{ candidates, claim }];
  });
}

/** Hands the heads out one each in turn, so that no consumer fills up while another idles. */
function assign(work: Workspace, candidates: readonly Candidate[], heads: readonly string[]): Delivered[] {
  const delivered: Delivered[] = [];
  let turn = 0;
  for (const intentId of heads) {
    const candidate = nextFree(candidates, turn);
    if (candidate === null) break;
    const { row } = candidate.candidate;
    const actor: Actor = { name: row.name, operator: false, access: EVERYTHING };
    const draft = work.open(intentId, actor);
    try {
      deliver(draft, { id: row.id, name: row.name, explicitAck: row.explicit_ack });
    } catch (error) {
      // The queue entry was older than the row: paused, canceled or taken meanwhile.
      if (error instanceof Refusal) continue;
      throw error;
    }
    work.stage(draft);
    candidate.candidate.free -= 1;
    turn = candidate.index + 1;
    delivered.push({ consumerId: row.id, intentId, attempt: draft.intent.attempt });
  }
  return delivered;
}

function nextFree(
  candidates: readonly Candidate[],
  turn: number,
): { candidate: Candidate; index: number } | null {
  for (let i = 0; i < candidates.length; i += 1) {
    const index = (turn + i) % candidates.length;
    const candidate = candidates[index] as Candidate;
    if (candidate.free > 0) return { candidate, index };
  }
  return null;
}

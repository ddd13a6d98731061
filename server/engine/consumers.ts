// Consumers at work and their end: heartbeat, lease expiry, loss (DELIVERY D2 to D6); connect.ts lets them in. Expiry and takeover are the
// only ways to lose an attempt here, and each is re-checked under the consumer's lock.

import { type Access, covers } from "../domain/access.ts";
import { lose } from "../domain/decide/attempt.ts";
import { SERVER } from "../domain/intent.ts";
import { Refusal } from "../domain/refusal.ts";
import { leaseIsExtended } from "../domain/window.ts";
import {
  type ConsumerRow,
  endLeases,
  type HeldLease,
  heldBy,
  lockConsumers,
  renewByHeartbeat,
} from "../store/consumers.ts";
import { servedLately } from "../store/replicas.ts";
import { type Transaction, transact } from "../store/transaction.ts";
import { extendLease } from "../store/windows.ts";
import type { Engine } from "./context.ts";
import { patience } from "./pulse.ts";

/** Whether a lease has run out, which counts only while somebody served: nobody can renew through an outage (D6, I12). */
export const isOver = (row: ConsumerRow, served: boolean): boolean =>
  row.lease_until === null || (served && row.lease_until <= row.now);

/** Asks behind what the transaction has locked already. */
export const served = (tx: Transaction, engine: Engine): Promise<boolean> =>
  servedLately(tx, engine.replicaId, patience(engine.settings));

/**
 * Ends every attempt that these (locked) consumers hold, for these reasons: +1 strike each, FAILED at the cap, in this transaction.
 * False when they are more than `max`: then nothing is done.
 */
export async function loseHeld(
  engine: Engine,
  tx: Transaction,
  consumers: ReadonlyMap<ConsumerRow, string>,
  max: number,
): Promise<boolean> {
  if (consumers.size === 0) return true;
  const losers = new Map([...consumers].map(([{ id, name }, reason]) => [id, { name, reason }]));
  const held = await heldBy(tx, [...losers.keys()]);
  if (held.length > max) return false;
  if (held.length === 0) return true;
  const ids = held.map((lease) => lease.intent_id);
  const work = await tx.load({
    intents: ids,
    steps: ids.map((intentId) => ({ intentId, keys: [], undone: 50 })),
    records: [],
  });
  for (const lease of held) {
    const loser = losers.get(lease.consumer_id);
    // Finished or handed back while we waited for its lock: nothing was lost.
    if (loser === undefined || work.peek(lease.intent_id)?.intent.consumerId !== lease.consumer_id) continue;
    const draft = work.open(lease.intent_id, SERVER);
    lose(draft, loser.reason, engine.settings, loser.name);
    work.stage(draft);
  }
  work.settle();
  tx.write(work);
  return true;
}

/** A windowed agent shows no life within a step that is allowed longer than the lease. */
async function extendedUntil(tx: Transaction, row: ConsumerRow): Promise<number | null> {
  const [lease] = await heldBy(tx, [row.id]);
  if (lease === undefined) return null;
  const work = await tx.load({ intents: [lease.intent_id], steps: [], records: [] });
  const intent = work.peek(lease.intent_id)?.intent;
  return intent?.consumerId === row.id ? leaseIsExtended(intent, work.now) : null;
}

/** Ends the leases of consumers that are over, one transaction each so that one slow lock holds up no other. */
export async function expireConsumer(engine: Engine, consumerId: string): Promise<boolean> {
  const { value, changes } = await transact(engine.store, async (tx) => {
    const [[row], isServed] = await Promise.all([lockConsumers(tx, [consumerId]), served(tx, engine)]);
    if (row === undefined || row.lease_until === null || !isOver(row, isServed)) return false;
    const until = row.mode === "windowed" ? await extendedUntil(tx, row) : null;
    if (until !== null) {
      extendLease(tx, row.id, until);
      return false;
    }
    await loseHeld(engine, tx, new Map([[row, "lease_expired"]]), Number.POSITIVE_INFINITY);
    endLeases(tx, [row.id]);
    return true;
  });
  engine.committed(changes);
  return value;
}

export interface HeartbeatInput {
  readonly consumerId: string;
  readonly incarnation: string | null;
  readonly capacity: number | null;
  readonly access: Access;
}

export interface HeartbeatAnswer {
  readonly leaseTtlMs: number;
  readonly address: string;
  readonly capacity: number;
  readonly held: readonly HeldLease[];
}

export async function heartbeatConsumer(engine: Engine, input: HeartbeatInput): Promise<HeartbeatAnswer> {
  const { value } = await transact(engine.store, async (tx): Promise<HeartbeatAnswer | Refusal> => {
    const [row] = await lockConsumers(tx, [input.consumerId]);
    if (row === undefined || !covers(input.access, row.address))
      return new Refusal("consumer_lost", "this consumer is unknown; open its stream again");
    if (input.incarnation !== null && input.incarnation !== row.incarnation) {
      return new Refusal(
        "consumer_superseded",
        "another process has taken this consumer name; stop this one",
      );
    }
    if (row.lease_until === null || (row.lease_until <= row.now && (await served(tx, engine)))) {
      return new Refusal("consumer_lost", "this consumer's lease ran out; open its stream again");
    }
    // A closed stream keeps its grace: a heartbeat of a process that cannot be delivered to must not extend it, and must
    // not make that process believe that it does (D6).
    if (row.mode === "stream" && row.closed_stream_no >= row.stream_no) {
      return new Refusal("consumer_lost", "this consumer's stream counts as closed; open it again");
    }
    renewByHeartbeat(tx, row.id, input.capacity);
    return {
      leaseTtlMs: row.lease_ttl_ms,
      address: row.address,
      capacity: input.capacity ?? row.capacity,
      held: await heldBy(tx, [row.id]),
    };
  });
  if (value instanceof Refusal) throw value;
  return value;
}

// Consumers come and go: connect, heartbeat, lease expiry, takeover (DELIVERY D2 to D6). Expiry and takeover are the
// only ways to lose an attempt here, and each is re-checked under the consumer's lock.

import { type Access, covers } from "../domain/access.ts";
import { lose } from "../domain/decide/attempt.ts";
import { newId } from "../domain/ids.ts";
import { SERVER } from "../domain/intent.ts";
import { Refusal } from "../domain/refusal.ts";
import { leaseIsExtended } from "../domain/window.ts";
import {
  type ConsumerRow,
  endLeases,
  type HeldLease,
  heldBy,
  lockConsumerByName,
  lockConsumers,
  markRefused,
  renewByHeartbeat,
  saveConsumer,
} from "../store/consumers.ts";
import { servedLately } from "../store/replicas.ts";
import { type Transaction, transact } from "../store/transaction.ts";
import { extendLease } from "../store/windows.ts";
import type { Workspace } from "../store/workspace.ts";
import type { Engine } from "./context.ts";
import { patience } from "./pulse.ts";

const SUPERSEDED_KEPT = 8;

export interface ConnectInput {
  readonly namespace: string;
  readonly address: string;
  readonly name: string;
  readonly incarnation: string;
  readonly mode: "stream" | "claim";
  readonly explicitAck: boolean;
  readonly capacity: number;
  readonly intentTypes: readonly string[] | null;
  readonly leaseTtlMs: number;
}

export interface Connection {
  readonly consumerId: string;
  readonly streamNo: number;
  readonly held: readonly HeldLease[];
  readonly leaseUntil: number;
}

type Admission = "new" | "same" | "takeover" | "in_use" | "superseded";

/** Whether a lease has run out, which counts only while somebody served: nobody can renew through an outage (D6, I12). */
const isOver = (row: ConsumerRow, served: boolean): boolean =>
  row.lease_until === null || (served && row.lease_until <= row.now);

/** Asks behind what the transaction has locked already. */
const served = (tx: Transaction, engine: Engine): Promise<boolean> =>
  servedLately(tx, engine.replicaId, patience(engine.settings));

/** Whether this incarnation may have the name now (D5). */
function admit(row: ConsumerRow | undefined, incarnation: string, leaseOver: boolean): Admission {
  if (row === undefined) return "new";
  if (row.incarnation === incarnation) return "same";
  if (row.superseded.includes(incarnation)) return "superseded";
  if (leaseOver) return "takeover";
  // Nobody served until this lease ended: its owner could not come back in time, whatever was seen of its stream.
  if ((row.lease_until ?? 0) <= row.now) return "in_use";
  const knownClosed = row.closed_stream_no >= row.stream_no;
  const contested = row.refused_at !== null && row.refused_at > row.now - row.lease_ttl_ms;
  return knownClosed && !contested ? "takeover" : "in_use";
}

export async function connectConsumer(engine: Engine, input: ConnectInput): Promise<Connection> {
  const { value, changes } = await transact(engine.store, async (tx): Promise<Connection | Refusal> => {
    const [row, isServed] = await Promise.all([
      lockConsumerByName(tx, input.namespace, input.address, input.name),
      served(tx, engine),
    ]);
    const leaseOver = row !== undefined && isOver(row, isServed);
    const admission = admit(row, input.incarnation, leaseOver);
    if (admission === "superseded") {
      return new Refusal(
        "consumer_superseded",
        `another process has taken the consumer name ${JSON.stringify(input.name)}; stop this one`,
      );
    }
    if (admission === "in_use" && row !== undefined) {
      markRefused(tx, row.id);
      const waitMs = Math.max(1, (row.lease_until ?? row.now) - row.now);
      return new Refusal(
        "consumer_in_use",
        `the consumer name ${JSON.stringify(input.name)} is in use; wait or choose another name`,
        {
          retry_after_seconds: Math.ceil(waitMs / 1000),
        },
      );
    }
    // The same incarnation after its lease ended has lost what it held, exactly as if the sweeper had come first.
    if (row !== undefined && (admission === "takeover" || leaseOver)) {
      await loseHeld(
        engine,
        tx,
        [row],
        admission === "takeover" && !leaseOver ? "takeover" : "lease_expired",
      );
    }
    const superseded =
      row === undefined || admission !== "takeover"
        ? (row?.superseded ?? [])
        : [...row.superseded, row.incarnation].slice(-SUPERSEDED_KEPT);
    const saved = await saveConsumer(tx, {
      ...input,
      id: row?.id ?? newId(),
      isNew: row === undefined,
      streamNo: (row?.stream_no ?? 0) + 1,
      replicaId: engine.replicaId,
      superseded,
    });
    const held = await heldBy(tx, [saved.id]);
    return { consumerId: saved.id, streamNo: Number(saved.stream_no), held, leaseUntil: saved.lease_until };
  });
  engine.committed(changes);
  if (value instanceof Refusal) throw value;
  return value;
}

/** Ends every attempt that these (locked) consumers hold: +1 strike each, FAILED at the cap, in this transaction. */
async function loseHeld(
  engine: Engine,
  tx: Transaction,
  consumers: readonly ConsumerRow[],
  reason: string,
): Promise<Workspace | null> {
  const names = new Map(consumers.map((row) => [row.id, row.name]));
  const held = await heldBy(tx, [...names.keys()]);
  if (held.length === 0) return null;
  const ids = held.map((lease) => lease.intent_id);
  const work = await tx.load({
    intents: ids,
    steps: ids.map((intentId) => ({ intentId, keys: [], undone: 50 })),
    records: [],
  });
  for (const lease of held) {
    // Finished or handed back while we waited for its lock: nothing was lost.
    if (work.peek(lease.intent_id)?.intent.consumerId !== lease.consumer_id) continue;
    const draft = work.open(lease.intent_id, SERVER);
    lose(draft, reason, engine.settings, names.get(lease.consumer_id));
    work.stage(draft);
  }
  work.settle();
  tx.write(work);
  return work;
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
    await loseHeld(engine, tx, [row], "lease_expired");
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

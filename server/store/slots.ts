// Free places of consumers whose streams are open here, for handing a new intent over in the very commit that creates
// it. Only ever a shortcut: whoever is busy, locked elsewhere or has a backlog is left to the claims.

import type { PoolClient } from "pg";
import { mayTake } from "../domain/consumer.ts";
import { encodeArray } from "./binary.ts";
import type { ConsumersTable } from "./database.ts";
import { HELD, type HeldRow, heldFloors } from "./held.ts";
import { partsFrom, type QueueHeads, WITHIN_PART } from "./queue-heads.ts";

/** A consumer that seems to have room, and the stream it would be told through. */
export interface SlotRef {
  readonly consumerId: string;
  readonly streamNo: number;
  readonly address: string;
}

export interface Slot {
  readonly consumerId: string;
  readonly streamNo: number;
  readonly name: string;
  readonly explicitAck: boolean;
  readonly address: string;
  readonly intentTypes: readonly string[] | null;
  free: number;
}

// Consumers are locked before intents everywhere, and here without waiting: a claim under way has the better right.
const LOCK = {
  name: "slots_lock",
  text: "select c.*, perdure_now() as now from consumers c where id = any($1::uuid[]) order by id for update skip locked",
};

// A later statement: it sees what a claim committed just before the lock was taken.
const ROOM = {
  name: "slots_room",
  text: `select h.consumer_id, h.held, h.floor,
      exists (select 1 from ${partsFrom(3)} cross join lateral (select 1 from ready r where ${WITHIN_PART} limit 1) x
        where s.address = c.address) as backlog,
      exists (select 1 from agents a where a.address = c.address and a.paused_at is not null) as paused
    from (${HELD}) h join consumers c on c.id = h.consumer_id`,
};

type LockedRow = ConsumersTable & { readonly now: number };
interface RoomRow extends HeldRow {
  readonly backlog: boolean;
  readonly paused: boolean;
}

export interface SlotsAsked {
  readonly queues: QueueHeads;
  readonly refs: readonly SlotRef[];
}

/** Sends the statements behind what the caller has sent already; the answer is read with the rest of the trip. */
export function askForSlots(client: PoolClient, { queues, refs }: SlotsAsked): Promise<Slot[]> {
  const streamNos = new Map(refs.map((ref) => [ref.consumerId, ref.streamNo]));
  const ids = [...streamNos.keys()];
  const locked = client.query<LockedRow>({ ...LOCK, values: [encodeArray("uuid", ids)] });
  const floors = heldFloors(client);
  const values = [...floors.parameters(ids), ...queues.parts(refs.map((ref) => ref.address))];
  const room = client.query<RoomRow>({ ...ROOM, values });
  return Promise.all([locked, room]).then(([{ rows }, { rows: rooms }]) => {
    const roomOf = new Map(rooms.map((row) => [row.consumer_id, row]));
    floors.learn(rows.flatMap((row) => roomOf.get(row.id) ?? []));
    return rows.flatMap((row) => {
      const { held, backlog, paused } = roomOf.get(row.id) ?? {
        held: row.capacity,
        backlog: true,
        paused: true,
      };
      const streamNo = streamNos.get(row.id) ?? -1;
      // Somebody waits in the queue already: nothing new may overtake it.
      if (backlog || paused || row.capacity <= held || !mayTake(takerOf(row), streamNo, row.now)) return [];
      return [
        {
          consumerId: row.id,
          streamNo,
          name: row.name,
          explicitAck: row.explicit_ack,
          address: row.address,
          intentTypes: row.intent_types,
          free: row.capacity - held,
        },
      ];
    });
  });
}

export const takerOf = (
  row: Pick<ConsumersTable, "mode" | "lease_until" | "stream_no" | "closed_stream_no">,
) => ({
  mode: row.mode,
  leaseUntil: row.lease_until,
  streamNo: row.stream_no,
  closedStreamNo: row.closed_stream_no,
});

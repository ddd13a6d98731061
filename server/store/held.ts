// How many intents consumers hold, by counting their leases. Ended leases stay in the index until vacuum may remove them, so each
// connection remembers below which number a consumer has none any more. That stays true for ever: whoever gives it a lease holds its lock
// and takes a new number. On another database, where it might not be true, there is another connection.

import { encodeArray } from "./binary.ts";

/** Of the consumers `$1`, above the numbers `$2`. */
export const HELD = `select w.id as consumer_id, l.held, coalesce(l.first - 1, pg_sequence_last_value('leases_no_seq'), 0) as floor
    from unnest($1::uuid[], $2::int8[]) as w(id, floor)
    cross join lateral (select count(*)::int as held, min(l.no) as first from leases l
      where l.consumer_id = w.id and l.no > w.floor) l`;

export interface HeldRow {
  readonly consumer_id: string;
  readonly held: number;
  /** It has no lease up to this number. */
  readonly floor: number;
}

export interface HeldFloors {
  parameters(ids: readonly string[]): Buffer[];
  /** Only of consumers that were locked before they were counted. */
  learn(rows: readonly HeldRow[]): void;
}

const CONSUMERS_MAX = 10_000;
const ofConnection = new WeakMap<object, Map<string, number>>();

export function heldFloors(connection: object): HeldFloors {
  const floors = ofConnection.get(connection) ?? new Map<string, number>();
  ofConnection.set(connection, floors);
  return {
    parameters: (ids) => [
      encodeArray("uuid", ids),
      encodeArray(
        "int8",
        ids.map((id) => floors.get(id) ?? 0),
      ),
    ],
    learn(rows) {
      if (floors.size + rows.length > CONSUMERS_MAX) floors.clear();
      for (const row of rows) floors.set(row.consumer_id, row.floor);
    },
  };
}

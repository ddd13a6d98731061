// Pages of the intents that have not ended.

import type { Store } from "../connection.ts";

/** In the order of their ids, behind `last`. */
export async function liveAfter({ pool }: Store, last: string | null, limit: number): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>({
    name: "live_after",
    text: "select intent_id as id from live where $1::uuid is null or intent_id > $1 order by intent_id limit $2",
    values: [last, limit],
  });
  return rows.map((row) => row.id);
}

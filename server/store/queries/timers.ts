// Reads of the timers: whose time has come.

import type { Store } from "../connection.ts";

// The clock is asked once, for the bound of the index: asked at each row, it would be asked at every timer there is.
const DUE = {
  name: "timers_due",
  text: "select intent_id from timers where due_at <= (select perdure_now()) order by due_at, intent_id limit $1",
};

/** Intents whose timer is due, the longest overdue first. */
export async function dueIntents(store: Store, limit: number): Promise<string[]> {
  const { rows } = await store.pool.query<{ intent_id: string }>({ ...DUE, values: [limit] });
  return rows.map((row) => row.intent_id);
}

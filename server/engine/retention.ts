// Ended intents go when their time is over.

import { expiredIntents, removeIntents } from "../store/expire.ts";
import type { Engine } from "./context.ts";

/** Removes at most `limit` of them; answers how many. */
export async function expireIntents(
  engine: Engine,
  defaultMs: number | null,
  limit: number,
): Promise<number> {
  return removeIntents(engine.store, await expiredIntents(engine.store, defaultMs, limit));
}

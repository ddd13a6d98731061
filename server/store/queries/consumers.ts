// Reads of consumers for explanations and lists.

import type { Kysely } from "kysely";
import type { ConsumersTable, Database } from "../database.ts";

export async function findConsumer(db: Kysely<Database>, id: string): Promise<ConsumersTable | undefined> {
  return db.selectFrom("consumers").selectAll().where("id", "=", id).executeTakeFirst();
}

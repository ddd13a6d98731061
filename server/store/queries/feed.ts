// What a reader of the feed asks of intents beyond what every commit has at hand.

import { encodeArray } from "../binary.ts";
import type { Store } from "../connection.ts";

const WITH_DATA = {
  name: "feed_with_data",
  text: `select id from intent_data where id = any($1::uuid[]) and ($2::text is null or session = $2) and metadata @> $3::jsonb`,
};

/** Which of these intents are of a session, and have these metadata. */
export async function findWithData(
  store: Store,
  ids: readonly string[],
  {
    session,
    metadata,
  }: { readonly session: string | null; readonly metadata: Readonly<Record<string, string>> },
): Promise<ReadonlySet<string>> {
  const values = [encodeArray("uuid", ids), session, JSON.stringify(metadata)];
  const { rows } = await store.pool.query<{ id: string }>({ ...WITH_DATA, values });
  return new Set(rows.map(({ id }) => id));
}

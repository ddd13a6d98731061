// Reads for whoever waits for the ends of many intents at once. Most of them have not ended: what they ended with is read last.

import type { Owned } from "../../domain/access.ts";
import { type Status, TERMINAL_STATUSES, type TerminalStatus } from "../../domain/lifecycle.ts";
import { RawJson } from "../../domain/raw-json.ts";
import { encodeArray } from "../binary.ts";
import type { Store } from "../connection.ts";
import { rawOrNull } from "../rows.ts";

/** How far an intent is, and whose it is. */
export interface Standing extends Owned {
  readonly id: string;
  readonly status: Status;
  readonly seq: number;
}

const STANDINGS = {
  name: "standings",
  text: `select i.id, i.status, i.seq, i.namespace, i.to_agent as "toAgent", i.sent_by as "sentBy"
    from intents i where i.id = any($1::uuid[])`,
};

export async function findStandings(store: Store, ids: readonly string[]): Promise<Map<string, Standing>> {
  const { rows } = await store.pool.query<Standing>({ ...STANDINGS, values: [encodeArray("uuid", ids)] });
  return new Map(rows.map((row) => [row.id, row]));
}

const ENDED_AMONG = {
  name: "ended_among",
  text: `select w.id from unnest($1::uuid[]) as w(id) left join intents i on i.id = w.id
    where i.id is null or i.status = any($2::text[])`,
};

/** Those that have ended, and those that are not there any more. */
export async function endedAmong(store: Store, ids: readonly string[]): Promise<string[]> {
  const values = [encodeArray("uuid", ids), encodeArray("text", TERMINAL_STATUSES)];
  const { rows } = await store.pool.query<{ id: string }>({ ...ENDED_AMONG, values });
  return rows.map((row) => row.id);
}

/** What an intent is known to have ended with; left out where it is larger than was asked for. */
export interface Ending {
  readonly id: string;
  readonly seq: number;
  readonly status: TerminalStatus;
  readonly result: RawJson | null;
  readonly error: unknown;
  readonly large: boolean;
}

interface EndingRow {
  readonly id: string;
  readonly seq: number;
  readonly status: TerminalStatus | null;
  readonly large: boolean | null;
  readonly result: string | null;
  readonly error: string | null;
}

const ENDINGS = {
  name: "endings",
  text: `select i.id, i.seq, o.status, b.bytes > $2 as large, case when b.bytes <= $2 then o.result end as result,
      case when b.bytes <= $2 then o.error end as error
    from intents i left join outcomes o on o.intent_id = i.id and i.status = any($3::text[])
    left join lateral (select coalesce(octet_length(o.result::text), 0) + coalesce(octet_length(o.error::text), 0) as bytes) b
      on o.status is not null
    where i.id = any($1::uuid[])`,
};

/** Of each that is there; with the seq up to which it lives, where it has not ended. */
export async function findEndings(
  store: Store,
  ids: readonly string[],
  maxBytes: number,
): Promise<Map<string, Ending | { readonly seq: number; readonly status: null }>> {
  const values = [encodeArray("uuid", ids), maxBytes, encodeArray("text", TERMINAL_STATUSES)];
  const { rows } = await store.pool.query<EndingRow>({ ...ENDINGS, values });
  return new Map(rows.map((row) => [row.id, toEnding(row)]));
}

function toEnding({ id, seq, status, large, result, error }: EndingRow) {
  if (status === null) return { seq, status };
  return {
    id,
    seq,
    status,
    result: rawOrNull(result),
    error: error === null ? null : new RawJson(error),
    large: large === true,
  };
}

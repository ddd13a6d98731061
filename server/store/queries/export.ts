// Everything that is stored of one intent, in pages: its log, its state's versions, its checkpoints, its signals.

import type { IntentEvent } from "../../domain/event.ts";
import type { Intent } from "../../domain/intent.ts";
import { RawJson } from "../../domain/raw-json.ts";
import { intentScope } from "../../domain/state.ts";
import type { Store } from "../connection.ts";
import { readEvents } from "./log.ts";

export type Exported =
  | { readonly kind: "event"; readonly event: IntentEvent }
  | { readonly kind: "state" | "checkpoint" | "signal"; readonly row: Readonly<Record<string, unknown>> };

const PAGE = 200;

/** The log up to where it was when asked; what comes meanwhile is another export's. */
export async function* exportIntent(store: Store, intent: Intent): AsyncGenerator<Exported> {
  for (let since = 0; since < intent.seq; ) {
    const events = await readEvents(store, intent.id, since, PAGE);
    if (events.length === 0) break;
    for (const event of events) if (event.seq <= intent.seq) yield { kind: "event", event };
    since = events.at(-1)?.seq ?? intent.seq;
  }
  yield* rowsOf(store, "state", STATE, [intent.namespace, intentScope(intent.id, intent.namespace).text]);
  yield* rowsOf(store, "checkpoint", CHECKPOINTS, [intent.id]);
  yield* rowsOf(store, "signal", SIGNALS, [intent.id]);
}

const PAGE_BYTES = 4 * 1024 * 1024;

/** A page of a query ends by its bytes, too: at least one row, and two hundred of a mebibyte each never at once. */
const paged = (columns: string, data: string, rest: string): string => `select ${columns} from (
    select *, row_number() over () as place, sum(coalesce(octet_length(${data}::text), 0)) over (rows unbounded preceding) as bytes
    from (${rest}) page) counted where place = 1 or bytes <= ${PAGE_BYTES} order by place`;

const STATE = paged(
  "key, version, value, value is null as deleted, seq, attempt, actor, at",
  "value",
  "select * from state_versions where namespace = $1 and scope = $2 order by key, version limit $3 offset $4",
);
const CHECKPOINTS = paged(
  "name, seq, steps_done, actor, metadata, created_at",
  "metadata",
  "select * from checkpoints where intent_id = $1 order by seq, name limit $2 offset $3",
);
const SIGNALS = paged(
  "no as seq, name, data, actor, at, taken_by",
  "data",
  "select * from signals where intent_id = $1 order by no limit $2 offset $3",
);
const JSON_COLUMNS = new Set(["value", "data", "metadata"]);
const TIME_COLUMNS = new Set(["at", "created_at"]);

async function* rowsOf(
  store: Store,
  kind: "state" | "checkpoint" | "signal",
  text: string,
  values: unknown[],
): AsyncGenerator<Exported> {
  for (let offset = 0; ; ) {
    const { rows } = await store.pool.query<Record<string, unknown>>(text, [...values, PAGE, offset]);
    for (const row of rows) yield { kind, row: Object.fromEntries(Object.entries(row).map(present)) };
    if (rows.length === 0) return;
    offset += rows.length;
  }
}

function present([name, value]: [string, unknown]): [string, unknown] {
  if (JSON_COLUMNS.has(name) && typeof value === "string") return [name, new RawJson(value)];
  if (TIME_COLUMNS.has(name)) return [name, new Date(value as number).toISOString()];
  return [name, value];
}

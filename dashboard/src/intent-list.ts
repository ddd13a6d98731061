// The rows of a list that is filtered, sorted by creation, loaded page by page and kept current by the feed. Pure: nothing is fetched.

import type { FeedFrame, IntentRow, Status } from "./wire.ts";

export interface Filters {
  readonly status: readonly string[];
  readonly to_agent: string;
  readonly intent_type: string;
  readonly session: string;
  readonly code: string;
  readonly text: string;
  readonly since: string;
  readonly metadata: string;
  readonly paused: boolean;
  readonly order: "newest" | "oldest";
}

export function filtersOf(params: URLSearchParams): Filters {
  const one = (name: string) => params.get(name) ?? "";
  return {
    status: one("status").split(",").filter(Boolean),
    to_agent: one("agent"),
    intent_type: one("type"),
    session: one("session"),
    code: one("code"),
    text: one("text"),
    since: one("since"),
    metadata: one("meta"),
    paused: one("paused") === "true",
    order: one("order") === "oldest" ? "oldest" : "newest",
  };
}

/** `team=blue, tier=1` → `{team: "blue", tier: "1"}`. */
export function metadataOf(text: string): Record<string, string> {
  const pairs = text.split(",").map((pair) => pair.split("=", 2).map((side) => side.trim()));
  return Object.fromEntries(
    pairs.filter(([name, value]) => name && value !== undefined) as [string, string][],
  );
}

const SINCE_MS: Readonly<Record<string, number>> = { "15m": 9e5, "1h": 36e5, "24h": 864e5, "7d": 6048e5 };
export const SINCE_OPTIONS = Object.keys(SINCE_MS);

export function createdFrom(since: string, now: number): string | undefined {
  const ms = SINCE_MS[since];
  return ms === undefined ? undefined : new Date(now - ms).toISOString();
}

/** What the API's list, counts and bulk verbs are asked, apart from the status. */
export function requestOf(filters: Filters, now: number): Record<string, string> {
  const metadata = Object.entries(metadataOf(filters.metadata)).map(([name, value]) => [
    `metadata.${name}`,
    value,
  ]);
  const given = [
    ["to_agent", filters.to_agent],
    ["intent_type", filters.intent_type],
    ["session", filters.session],
    ["code", filters.code],
    ["created_from", createdFrom(filters.since, now) ?? ""],
    ...metadata,
  ].filter(([, value]) => value !== "");
  return Object.fromEntries(given);
}

export const isFiltered = (filters: Filters): boolean =>
  filters.status.length > 0 ||
  filters.paused ||
  filters.text !== "" ||
  Object.keys(requestOf(filters, 0)).length > 0;

/** Whether a frame says enough to judge the filter: else the server has to be asked. */
export const judgesAlone = ({ session, code, text, metadata }: Filters): boolean =>
  session === "" && code === "" && text === "" && metadata === "";

const addressMatches = (wanted: string, address: string): boolean => {
  const name = wanted.replace(/^agent:\/\//, "");
  const own = address.replace(/^agent:\/\//, "");
  return own === name || own.endsWith(`/${name}`);
};

function matches(filters: Filters, row: IntentRow): boolean {
  if (filters.status.length > 0 && !filters.status.includes(row.status)) return false;
  if (filters.paused && !row.paused) return false;
  if (filters.to_agent !== "" && !addressMatches(filters.to_agent, row.address)) return false;
  if (filters.intent_type !== "" && row.intent_type !== filters.intent_type) return false;
  const from = SINCE_MS[filters.since];
  return from === undefined || Date.parse(row.created_at) >= Date.now() - from;
}

export interface Rows {
  readonly list: readonly IntentRow[];
  /** Every row there is is loaded. */
  readonly complete: boolean;
}

const isBefore = (a: IntentRow, b: IntentRow, order: Filters["order"]): boolean => {
  const newer = a.created_at === b.created_at ? a.intent_id > b.intent_id : a.created_at > b.created_at;
  return order === "newest" ? newer : !newer;
};

function placeOf(list: readonly IntentRow[], row: IntentRow, order: Filters["order"]): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(list[middle] as IntentRow, row, order)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The rows after what the feed told; `unsure`: something happened to an intent that only the server can judge. */
export function applyFrames(
  rows: Rows,
  frames: readonly FeedFrame[],
  filters: Filters,
): { readonly list: readonly IntentRow[]; readonly unsure: boolean } {
  const places = new Map(rows.list.map((row, index) => [row.intent_id, index]));
  const list: (IntentRow | null)[] = [...rows.list];
  const fresh: IntentRow[] = [];
  let unsure = false;
  for (const { intent_id, intent } of frames) {
    const row: IntentRow = { intent_id, ...intent };
    const index = places.get(intent_id);
    const known = index === undefined ? undefined : rows.list[index];
    if (index !== undefined && known !== undefined) {
      if (known.seq >= row.seq) continue;
      list[index] = matches(filters, row) ? { ...known, ...row } : null;
    } else if (!judgesAlone(filters)) unsure = true;
    else if (matches(filters, row)) fresh.push(row);
  }
  const left = list.filter((row) => row !== null);
  const last = rows.list.at(-1);
  for (const row of fresh) {
    // Behind what is loaded: it comes with its page.
    if (!rows.complete && last !== undefined && !isBefore(row, last, filters.order)) continue;
    left.splice(placeOf(left, row, filters.order), 0, row);
  }
  return { list: left, unsure };
}

export function addPage(rows: readonly IntentRow[], page: readonly IntentRow[]): readonly IntentRow[] {
  const known = new Set(rows.map(({ intent_id }) => intent_id));
  return [...rows, ...page.filter(({ intent_id }) => !known.has(intent_id))];
}

/** Counts for the tabs, in the order of a life. */
export const SHOWN_STATUSES: readonly Status[] = [
  "SUBMITTED",
  "DELIVERED",
  "ACKNOWLEDGED",
  "IN_PROGRESS",
  "WAITING",
  "COMPLETED",
  "FAILED",
  "CANCELED",
  "TIMED_OUT",
];

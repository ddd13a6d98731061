// The rows of a list that is filtered, sorted, loaded page by page and kept current by the feed. Pure: nothing is fetched.

import { type FeedFrame, hasEnded, type IntentRow, type Status } from "./wire.ts";

/** As the API names them. */
export const ORDERS = [
  "newest",
  "oldest",
  "recently_changed",
  "longest_unchanged",
  "priority",
  "deadline",
] as const;
export type Order = (typeof ORDERS)[number];

/** Whether the order is that of creation: else the server sorts a bounded number. */
export const isByCreation = (order: Order): boolean => order === "newest" || order === "oldest";

/** Without a status, these are of what has not ended. */
const OF_THE_LIVING: readonly Order[] = ["longest_unchanged", "priority", "deadline"];

export interface Filters {
  readonly status: readonly string[];
  readonly to_agent: string;
  readonly intent_type: string;
  readonly session: string;
  readonly code: string;
  readonly text: string;
  readonly since: string;
  /** Instants, between which it was created. */
  readonly from: string;
  readonly to: string;
  readonly metadata: string;
  readonly paused: boolean;
  readonly order: Order;
}

export const isOfTheLiving = ({ order, status }: Filters): boolean =>
  OF_THE_LIVING.includes(order) && status.length === 0;

/** A text is looked for from the newest or the oldest on. */
function orderOf(wanted: string, text: string): Order {
  const order = ORDERS.find((one) => one === wanted) ?? "newest";
  return text === "" || isByCreation(order) ? order : "newest";
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
    from: instantOf(one("from")),
    to: instantOf(one("to")),
    metadata: one("meta"),
    paused: one("paused") === "true",
    order: orderOf(one("order"), one("text")),
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

/** What was typed into the address bar may be no instant. */
function instantOf(text: string): string {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? "" : new Date(ms).toISOString();
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
    ["created_from", createdFrom(filters.since, now) ?? filters.from],
    ["created_to", filters.to],
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
  if (isOfTheLiving(filters) && hasEnded(row.status)) return false;
  if (filters.order === "deadline" && row.deadline_at === null) return false;
  const created = Date.parse(row.created_at);
  const since = SINCE_MS[filters.since];
  if (since !== undefined) return created >= Date.now() - since;
  if (filters.from !== "" && created < Date.parse(filters.from)) return false;
  return filters.to === "" || created < Date.parse(filters.to);
}

export interface Rows {
  readonly list: readonly IntentRow[];
  /** Every row there is is loaded. */
  readonly complete: boolean;
}

/** Of two that differ in what they are sorted by, whether `a` comes first; null: they do not differ in it. */
const FIRST: Readonly<Record<Order, (a: IntentRow, b: IntentRow) => boolean | null>> = {
  newest: (a, b) => (a.created_at === b.created_at ? null : a.created_at > b.created_at),
  oldest: (a, b) => (a.created_at === b.created_at ? null : a.created_at < b.created_at),
  recently_changed: (a, b) => (a.updated_at === b.updated_at ? null : a.updated_at > b.updated_at),
  longest_unchanged: (a, b) => (a.updated_at === b.updated_at ? null : a.updated_at < b.updated_at),
  priority: (a, b) => (a.priority === b.priority ? null : a.priority > b.priority),
  deadline: (a, b) =>
    a.deadline_at === b.deadline_at ? null : String(a.deadline_at) < String(b.deadline_at),
};

const isBefore = (a: IntentRow, b: IntentRow, order: Order): boolean =>
  FIRST[order](a, b) ?? (order === "newest" ? a.intent_id > b.intent_id : a.intent_id < b.intent_id);

function placeOf(list: readonly IntentRow[], row: IntentRow, order: Order): number {
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
  /** What has to find its place: new, or sorted by what has changed. */
  const moved = new Map<string, IntentRow>();
  let unsure = false;
  for (const { intent_id, intent } of frames) {
    const row: IntentRow = { intent_id, ...intent };
    const index = places.get(intent_id);
    const known = index === undefined ? undefined : rows.list[index];
    if (index !== undefined && known !== undefined) {
      const latest = moved.get(intent_id) ?? list[index] ?? known;
      if (latest.seq >= row.seq) continue;
      const next = { ...known, ...row };
      const stays = FIRST[filters.order](known, next) === null;
      const fits = matches(filters, row);
      list[index] = fits && stays ? next : null;
      if (fits && !stays) moved.set(intent_id, next);
      else moved.delete(intent_id);
    } else if (!judgesAlone(filters)) unsure = true;
    else if ((moved.get(intent_id)?.seq ?? 0) >= row.seq) continue;
    else if (matches(filters, row)) moved.set(intent_id, row);
    else moved.delete(intent_id);
  }
  const left = list.filter((row) => row !== null);
  const last = rows.list.at(-1);
  for (const row of moved.values()) {
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

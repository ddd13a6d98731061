// All intents: counts, filters that live in the URL, a list of any length that keeps itself current, and verbs for all that match.

import type { VNode } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, keyChanges, query } from "../api.ts";
import { age, count, localInput, plural, shortId, words } from "../format.ts";
import { useDebounced, useFeed, useNow, useResource } from "../hooks.ts";
import {
  addPage,
  applyFrames,
  type Filters,
  filtersOf,
  isByCreation,
  isFiltered,
  ORDERS,
  type Order,
  requestOf,
  SHOWN_STATUSES,
  SINCE_OPTIONS,
} from "../intent-list.ts";
import {
  Address,
  Age,
  Attempt,
  Empty,
  Failure,
  IntentLink,
  PageHead,
  ProgressBar,
  StatusBadge,
  toneOf,
} from "../parts/basics.tsx";
import { type Column, VirtualList } from "../parts/virtual-list.tsx";
import { go, href, route, setParams } from "../route.ts";
import { extendTo, NONE, picked, type Selection, toggle, toggleAll } from "../selection.ts";
import { useValue } from "../store.ts";
import type { Counts, IntentRow, Status } from "../wire.ts";
import { BulkBar, SelectionBar } from "./bulk.tsx";

const PAGE = 100;
const ROW_PX = 38;
const PHONE_ROW_PX = 64;
const PHONE = matchMedia("(max-width: 720px)");
/** What is new stands at their top. */
const GROWING: readonly Order[] = ["newest", "recently_changed"];
/** More rows than this at the top of a busy list are started anew. */
const ROWS_MAX = 4_000;
const COUNTS_MS = 2_000;
const REREAD_MS = 3_000;

interface ListAnswer {
  readonly intents: readonly IntentRow[];
  readonly next_cursor: string | null;
  readonly sorted?: { readonly among: number; readonly capped: boolean };
}

interface Loaded {
  readonly key: string;
  readonly list: readonly IntentRow[];
  readonly cursor: string | null;
  readonly error: Error | null;
  readonly done: boolean;
  /** How many were sorted, if there are more. */
  readonly sortedOf: number | null;
}

const nothing = (key: string): Loaded => ({
  key,
  list: [],
  cursor: null,
  error: null,
  done: false,
  sortedOf: null,
});

/** The list of one filter: first page at once, the others as they are asked for, current by the feed. */
function useRows(filters: Filters, key: string) {
  const [loaded, setLoaded] = useState<Loaded>(nothing(key));
  const state = useRef(loaded);
  const busy = useRef(false);
  const generation = useRef(0);

  const put = useCallback((next: Loaded) => {
    state.current = next;
    setLoaded(next);
  }, []);

  const load = useCallback(
    async (more: boolean) => {
      if (more && (busy.current || state.current.cursor === null)) return;
      const mine = more ? generation.current : ++generation.current;
      busy.current = true;
      const params = {
        ...requestOf(filters, Date.now()),
        status: filters.status.join(","),
        text: filters.text,
        paused: filters.paused ? "true" : "",
        order: filters.order,
        limit: PAGE,
        cursor: more ? state.current.cursor : undefined,
      };
      try {
        const page = await get<ListAnswer>(`/v1/intents${query(params)}`);
        if (mine !== generation.current) return;
        const list = more ? addPage(state.current.list, page.intents) : page.intents;
        const sortedOf = page.sorted?.capped === true ? page.sorted.among : null;
        put({ key, list, cursor: page.next_cursor, error: null, done: true, sortedOf });
      } catch (error) {
        if (mine === generation.current) put({ ...state.current, key, error: error as Error, done: true });
      } finally {
        if (mine === generation.current) busy.current = false;
      }
    },
    [key, put],
  );

  useEffect(() => {
    put(nothing(key));
    void load(false);
  }, [load]);

  const reread = useThrottled(REREAD_MS, () => void load(false));
  useFeed((frames) => {
    const { list: before, cursor, done } = state.current;
    if (!done) return;
    const { list, unsure } = applyFrames({ list: before, complete: cursor === null }, frames, filters);
    const grows = list.length > ROWS_MAX && list.length > before.length;
    if (grows && GROWING.includes(filters.order)) reread();
    else put({ ...state.current, list });
    if (unsure) reread();
  }, reread);

  const shown = loaded.key === key ? loaded : nothing(key);
  return { ...shown, more: useCallback(() => void load(true), [load]), reload: () => void load(false) };
}

/** At once, and then at most every `ms`. */
function useThrottled(ms: number, action: () => void): () => void {
  const latest = useRef(action);
  latest.current = action;
  const last = useRef(0);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  return useCallback(() => {
    if (timer.current !== 0) return;
    const wait = Math.max(0, last.current + ms - performance.now());
    timer.current = window.setTimeout(() => {
      timer.current = 0;
      last.current = performance.now();
      latest.current();
    }, wait);
  }, [ms]);
}

function StatusTabs({ filters, counts }: { filters: Filters; counts: Counts | undefined }) {
  const toggle = (status: Status | null) => setParams({ status });
  const only = filters.status.length === 1 ? filters.status[0] : null;
  const all = filters.status.length === 0;
  return (
    <nav class="counts" aria-label="Status">
      <button type="button" aria-pressed={all} onClick={() => toggle(null)}>
        All
        <span class="num">
          {counts === undefined ? "…" : count(counts.total)}
          {counts?.capped === true ? "+" : ""}
        </span>
      </button>
      {SHOWN_STATUSES.filter(
        (status) => (counts?.counts[status] ?? 0) > 0 || filters.status.includes(status),
      ).map((status) => (
        <button
          type="button"
          key={status}
          class={`tone-${toneOf(status)}`}
          aria-pressed={only === status || filters.status.includes(status)}
          onClick={() => toggle(only === status ? null : status)}
        >
          <span class="dot" aria-hidden="true" />
          {words(status)}
          <span class="num">{count(counts?.counts[status] ?? 0)}</span>
        </button>
      ))}
      {(counts?.paused ?? 0) > 0 && (
        <button
          type="button"
          class="tone-paused"
          aria-pressed={filters.paused}
          onClick={() => setParams({ paused: filters.paused ? null : "true" })}
        >
          <span class="dot" aria-hidden="true" />
          Paused
          <span class="num">{count(counts?.paused ?? 0)}</span>
        </button>
      )}
    </nav>
  );
}

interface FieldProps {
  readonly name: string;
  readonly label: string;
  readonly value: string;
  readonly id?: string;
}

function FilterField({ name, label, value, id }: FieldProps) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  const apply = useDebounced(300, (next: string) => setParams({ [name]: next.trim() }));
  return (
    <label class="field">
      <span class="sr">{label}</span>
      <input
        id={id}
        type="search"
        placeholder={label}
        value={typed}
        maxLength={200}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          apply(event.currentTarget.value);
        }}
      />
    </label>
  );
}

/** Typed in the reader's time zone, kept in the URL as an instant that means the same everywhere. */
function InstantField({ name, label, value }: FieldProps) {
  return (
    <label class="field instant">
      <span class="faint">{label}</span>
      <input
        type="datetime-local"
        value={value === "" ? "" : localInput(value)}
        onChange={({ currentTarget }) => {
          const at = Date.parse(currentTarget.value);
          setParams({ [name]: Number.isNaN(at) ? null : new Date(at).toISOString(), since: null });
        }}
      />
    </label>
  );
}

const ORDER_NAMES: Readonly<Record<Order, string>> = {
  newest: "Newest first",
  oldest: "Oldest first",
  recently_changed: "Recently changed",
  longest_unchanged: "Longest unchanged",
  priority: "Highest priority",
  deadline: "Soonest deadline",
};

const sortBy = (order: Order) => setParams({ order: order === "newest" ? null : order });

function FilterBar({ filters }: { filters: Filters }) {
  const used = [filters.session, filters.metadata, filters.code, filters.from, filters.to].some(Boolean);
  const [open, setOpen] = useState(used);
  return (
    <search class="filters">
      <FilterField id="search" name="text" label="Search text or id  ( / )" value={filters.text} />
      <FilterField name="agent" label="Agent" value={filters.to_agent} />
      <FilterField name="type" label="Type" value={filters.intent_type} />
      <select
        aria-label="Created"
        value={filters.since}
        onChange={(event) => setParams({ since: event.currentTarget.value, from: null, to: null })}
      >
        <option value="">Any time</option>
        {SINCE_OPTIONS.map((since) => (
          <option key={since} value={since}>
            Last {since}
          </option>
        ))}
      </select>
      <select
        aria-label="Order"
        value={filters.order}
        onChange={(event) => sortBy(event.currentTarget.value as Order)}
      >
        {ORDERS.map((order) => (
          <option key={order} value={order} disabled={filters.text !== "" && !isByCreation(order)}>
            {ORDER_NAMES[order]}
          </option>
        ))}
      </select>
      <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
        {open ? "Fewer filters" : "More filters"}
      </button>
      {open && (
        <>
          <FilterField name="session" label="Session" value={filters.session} />
          <FilterField name="meta" label="Metadata: key=value" value={filters.metadata} />
          <FilterField name="code" label="Error code" value={filters.code} />
          <InstantField name="from" label="Created from" value={filters.from} />
          <InstantField name="to" label="until" value={filters.to} />
        </>
      )}
      {isFiltered(filters) && (
        <button type="button" class="quiet" onClick={() => go(["intents"])}>
          Clear
        </button>
      )}
    </search>
  );
}

/** What the list is sorted by is shown. */
function SortedCell({ row, now, order }: { row: IntentRow; now: number; order: Order }) {
  if (order === "priority") return <span class="num">{row.priority}</span>;
  if (order !== "deadline" || row.deadline_at === null) return <Age at={row.created_at} now={now} />;
  const left = Date.parse(row.deadline_at) - now;
  return (
    <time dateTime={row.deadline_at} title={row.deadline_at} class={left < 0 ? "lost num" : "num"}>
      {left < 0 ? "over" : `in ${age(left)}`}
    </time>
  );
}

function Row({ row, now, order }: { row: IntentRow; now: number; order: Order }) {
  return (
    <>
      <span role="gridcell" class="c-status">
        <StatusBadge status={row.status} paused={row.paused} />
      </span>
      <span role="gridcell" class="c-type">
        <bdi title={row.intent_type}>{row.intent_type}</bdi>
      </span>
      <span role="gridcell" class="c-id">
        <IntentLink id={row.intent_id} />
      </span>
      <span role="gridcell" class="c-agent">
        <Address address={row.address} />
      </span>
      <span role="gridcell" class="c-progress">
        <ProgressBar progress={row.progress} />
      </span>
      <span role="gridcell" class="c-attempt">
        <Attempt row={row} />
      </span>
      <span role="gridcell" class={isByCreation(order) ? "c-created" : "c-created shown"}>
        <SortedCell row={row} now={now} order={order} />
      </span>
      <span role="gridcell" class="c-updated">
        <Age at={row.updated_at} now={now} />
      </span>
    </>
  );
}

/** An age grows as the instant goes back: the newest first is the shortest first. */
function columnsFor(order: Order): readonly Column[] {
  const created = { newest: "descending", oldest: "ascending" } as const;
  const changed = { recently_changed: "descending", longest_unchanged: "ascending" } as const;
  const byKey: Column =
    order === "priority"
      ? { name: "Priority", sorted: "descending", onSort: () => sortBy("newest") }
      : order === "deadline"
        ? { name: "Deadline", sorted: "ascending", onSort: () => sortBy("newest") }
        : {
            name: "Created",
            sorted: order in created ? created[order as keyof typeof created] : undefined,
            onSort: () => sortBy(order === "newest" ? "oldest" : "newest"),
          };
  return [
    ...["Status", "Type", "Id", "Agent", "Progress", "Attempt"].map((name) => ({ name })),
    byKey,
    {
      name: "Changed",
      sorted: order in changed ? changed[order as keyof typeof changed] : undefined,
      onSort: () => sortBy(order === "recently_changed" ? "longest_unchanged" : "recently_changed"),
    },
  ];
}

const idOf = (row: IntentRow) => row.intent_id;
const nameOf = (row: IntentRow) => `${row.intent_type} ${shortId(row.intent_id)}`;
const openIntent = (row: IntentRow) => go(["intents", row.intent_id]);

/** Which rows are picked, as long as the filter is the same. */
function useSelection(list: readonly IntentRow[], key: string) {
  const [state, setState] = useState<{ key: string; selection: Selection }>({ key, selection: NONE });
  const selection = state.key === key ? state.selection : NONE;
  const order = useMemo(() => list.map(idOf), [list]);
  const ids = useMemo(() => picked(selection, order), [selection, order]);
  const change = (next: Selection) => setState({ key, selection: next });
  return {
    ids,
    clear: () => change(NONE),
    picks: {
      ids: new Set(ids),
      nameOf,
      onToggle: (id: string) => change(toggle(selection, id)),
      onExtend: (id: string) => change(extendTo(selection, order, id)),
      onAll: () => change(toggleAll(selection, order)),
      onNone: () => change(NONE),
    },
  };
}

function usePhone(): boolean {
  const [phone, setPhone] = useState(PHONE.matches);
  useEffect(() => {
    const listen = () => setPhone(PHONE.matches);
    PHONE.addEventListener("change", listen);
    return () => PHONE.removeEventListener("change", listen);
  }, []);
  return phone;
}

export function Intents() {
  const { params } = useValue(route);
  const text = params.toString();
  const filters = useMemo(() => filtersOf(params), [text]);
  const key = `${text} ${useValue(keyChanges)}`;
  const rows = useRows(filters, key);
  const selection = useSelection(rows.list, key);
  const now = useNow(1_000);
  const phone = usePhone();
  const counts = useResource<Counts>(
    `counts ${JSON.stringify({ ...filters, status: [], paused: false, text: "", order: "" })} ${key.split(" ").at(-1)}`,
    (signal) => get(`/v1/intents/counts${query(requestOf(filters, Date.now()))}`, signal),
    COUNTS_MS,
  );
  useFeed(counts.refresh, counts.refresh);

  const total =
    filters.status.length === 0
      ? counts.data?.total
      : filters.status.reduce((sum, status) => sum + (counts.data?.counts[status as Status] ?? 0), 0);
  const isNew = !isFiltered(filters) && counts.data?.total === 0 && rows.done && rows.list.length === 0;
  useEffect(() => {
    if (isNew) location.replace(href(["start"]));
  }, [isNew]);
  const drawn = useRef(new WeakMap<IntentRow, { now: number; order: Order; row: VNode }>());
  // The same element again is not looked into: of a list only what changed costs anything.
  const render = (row: IntentRow) => {
    const known = drawn.current.get(row);
    if (known?.now === now && known.order === filters.order) return known.row;
    const fresh = { now, order: filters.order, row: <Row row={row} now={now} order={filters.order} /> };
    drawn.current.set(row, fresh);
    return fresh.row;
  };
  return (
    <div class="page full">
      <PageHead title="Intents">
        {selection.ids.length > 0 ? (
          <SelectionBar ids={selection.ids} onClear={selection.clear} />
        ) : (
          <BulkBar filters={filters} />
        )}
      </PageHead>
      <StatusTabs filters={filters} counts={counts.data} />
      <FilterBar filters={filters} />
      {rows.error !== null && <Failure error={rows.error} retry={rows.reload} />}
      {rows.list.length > 0 ? (
        <VirtualList
          key={key}
          items={rows.list}
          idOf={idOf}
          rowHeight={phone ? PHONE_ROW_PX : ROW_PX}
          label="Intents"
          columns={columnsFor(filters.order)}
          picks={selection.picks}
          total={Math.max(total ?? 0, rows.list.length)}
          render={render}
          onOpen={openIntent}
          onEnd={rows.more}
        />
      ) : (
        rows.error === null && <NoRows done={rows.done} cursor={rows.cursor} more={rows.more} />
      )}
      {rows.list.length > 0 && (
        <p class="foot faint">
          {plural(rows.list.length, "row")} loaded{rows.cursor === null ? "" : "; scroll for more"}
          {rows.sortedOf !== null &&
            `; there are more intents than the ${count(rows.sortedOf)} that were sorted`}
          {filters.text !== "" && rows.cursor !== null && (
            <button type="button" class="small" onClick={rows.more}>
              Search further back
            </button>
          )}
        </p>
      )}
    </div>
  );
}

function NoRows({ done, cursor, more }: { done: boolean; cursor: string | null; more: () => void }) {
  if (!done)
    return (
      <div class="skeleton" role="status" aria-label="Loading">
        {Array.from({ length: 12 }, (_, index) => (
          <span key={index} />
        ))}
      </div>
    );
  if (cursor !== null)
    return (
      <Empty title="Nothing among the intents that were searched so far">
        <button type="button" onClick={more}>
          Search further back
        </button>
      </Empty>
    );
  return (
    <Empty title="No intent matches">
      <button type="button" onClick={() => go(["intents"])}>
        Clear the filters
      </button>
    </Empty>
  );
}

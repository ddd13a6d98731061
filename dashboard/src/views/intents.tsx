// All intents: counts, filters that live in the URL, a list of any length that keeps itself current, and verbs for those that match or
// are picked.

import type { VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, keyChanges, query } from "../api.ts";
import { count, plural, shortId } from "../format.ts";
import { useFeed, useNow, useResource } from "../hooks.ts";
import { type Filters, filtersOf, isFiltered, isOfTheLiving, type Order, requestOf } from "../intent-list.ts";
import { useRows } from "../intent-rows.ts";
import { Empty, Failure, PageHead } from "../parts/basics.tsx";
import { VirtualList } from "../parts/virtual-list.tsx";
import { go, href, route } from "../route.ts";
import { extendTo, NONE, picked, type Selection, toggle, toggleAll } from "../selection.ts";
import { useValue } from "../store.ts";
import type { Counts, IntentRow, Status } from "../wire.ts";
import { BulkBar, SelectionBar } from "./bulk.tsx";
import { FilterBar, StatusTabs } from "./intent-filters.tsx";
import { columnsFor, Row } from "./intent-row.tsx";

const ROW_PX = 38;
const PHONE_ROW_PX = 64;
const PHONE = matchMedia("(max-width: 720px)");
const COUNTS_MS = 2_000;

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
        rows.error === null && (
          <NoRows filters={filters} done={rows.done} cursor={rows.cursor} more={rows.more} />
        )
      )}
      {rows.list.length > 0 && (
        <p class="foot faint">
          {plural(rows.list.length, "row")} loaded{rows.cursor === null ? "" : "; scroll for more"}
          {isOfTheLiving(filters) && "; of those that have not ended"}
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

function NoRows(props: { filters: Filters; done: boolean; cursor: string | null; more: () => void }) {
  const { filters, done, cursor, more } = props;
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
    <Empty
      title={
        filters.order === "deadline"
          ? "No intent that matches has a deadline"
          : isOfTheLiving(filters)
            ? "All that match have ended"
            : "No intent matches"
      }
    >
      <button type="button" onClick={() => go(["intents"])}>
        Clear the filters
      </button>
    </Empty>
  );
}

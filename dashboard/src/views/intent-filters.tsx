// What narrows and sorts the list of intents. All of it stands in the URL.

import { useEffect, useState } from "preact/hooks";
import { count, localInput, words } from "../format.ts";
import { useDebounced } from "../hooks.ts";
import {
  type Filters,
  isByCreation,
  isFiltered,
  ORDERS,
  type Order,
  SHOWN_STATUSES,
  SINCE_OPTIONS,
} from "../intent-list.ts";
import { toneOf } from "../parts/basics.tsx";
import { go, setParams } from "../route.ts";
import type { Counts, Status } from "../wire.ts";

export function StatusTabs({ filters, counts }: { filters: Filters; counts: Counts | undefined }) {
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

export const sortBy = (order: Order) => setParams({ order: order === "newest" ? null : order });

export function FilterBar({ filters }: { filters: Filters }) {
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

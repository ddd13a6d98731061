// One row of the list of intents, and the heads above it.

import { age } from "../format.ts";
import { isByCreation, type Order } from "../intent-list.ts";
import { Address, Age, Attempt, IntentLink, ProgressBar, StatusBadge } from "../parts/basics.tsx";
import type { Column } from "../parts/virtual-list.tsx";
import type { IntentRow } from "../wire.ts";
import { sortBy } from "./intent-filters.tsx";

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

export function Row({ row, now, order }: { row: IntentRow; now: number; order: Order }) {
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
export function columnsFor(order: Order): readonly Column[] {
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

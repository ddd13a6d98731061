// A list of any length of which only what is in sight is in the document. Rows have one height, and are walked with the keyboard.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

const OVERSCAN = 8;

export interface Column {
  readonly name: string;
  /** What the list is sorted by. */
  readonly sorted?: "ascending" | "descending" | undefined;
  /** Sorts by it, or the other way round. */
  readonly onSort?: () => void;
}

/** Rows that are picked, and how that changes. */
export interface Picks<T> {
  readonly ids: ReadonlySet<string>;
  readonly nameOf: (item: T) => string;
  readonly onToggle: (id: string) => void;
  /** From the one picked last to this one. */
  readonly onExtend: (id: string) => void;
  readonly onAll: () => void;
  readonly onNone: () => void;
}

export interface VirtualListProps<T> {
  readonly items: readonly T[];
  readonly idOf: (item: T) => string;
  readonly rowHeight: number;
  readonly label: string;
  readonly columns: readonly Column[];
  readonly picks: Picks<T>;
  readonly total: number;
  readonly render: (item: T) => ComponentChildren;
  readonly onOpen: (item: T) => void;
  /** The end of what is there is near. */
  readonly onEnd: () => void;
}

export function VirtualList<T>(props: VirtualListProps<T>) {
  const { items, idOf, rowHeight, label, columns, picks, total, render, onOpen, onEnd } = props;
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [active, setActive] = useState<string | null>(null);
  const anchor = useRef<string | null>(null);

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const first = Math.max(0, Math.floor(top / rowHeight) - OVERSCAN);
  const last = Math.min(items.length, Math.ceil((top + height) / rowHeight) + OVERSCAN);
  const shown = items.slice(first, last);

  useEffect(() => {
    if (last >= items.length - OVERSCAN) onEnd();
  }, [last, items.length, onEnd]);

  // New rows above what is being read must not push it away.
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    if (element.scrollTop >= rowHeight && anchor.current !== null) {
      const now = items.findIndex((item) => idOf(item) === anchor.current);
      const before = Math.floor(element.scrollTop / rowHeight);
      if (now > before && now - before < 2_000) element.scrollTop += (now - before) * rowHeight;
    }
    const item = items[Math.floor(element.scrollTop / rowHeight)];
    anchor.current = item === undefined ? null : idOf(item);
  }, [items, idOf, rowHeight]);

  const onScroll = () => {
    const element = box.current;
    if (element === null) return;
    setTop(element.scrollTop);
    const item = items[Math.floor(element.scrollTop / rowHeight)];
    anchor.current = item === undefined ? null : idOf(item);
  };

  const moveTo = (index: number) => {
    const element = box.current;
    const place = Math.max(0, Math.min(items.length - 1, index));
    const item = items[place];
    if (element === null || item === undefined) return;
    const at = place * rowHeight;
    // The head stays where it is, above the rows.
    const room = element.clientHeight - (element.querySelector<HTMLElement>(".grid-head")?.offsetHeight ?? 0);
    if (at < element.scrollTop) element.scrollTop = at;
    if (at + rowHeight > element.scrollTop + room) element.scrollTop = at + rowHeight - room;
    setActive(idOf(item));
    requestAnimationFrame(() =>
      element
        .querySelector<HTMLElement>(`[data-row="${CSS.escape(idOf(item))}"]`)
        ?.focus({ preventScroll: true }),
    );
  };

  const onPickKey = (event: KeyboardEvent, current: number): boolean => {
    const item = items[current];
    if ((event.ctrlKey || event.metaKey) && event.key === "a") picks.onAll();
    else if (event.ctrlKey || event.metaKey || event.altKey) return false;
    else if (event.key === "Escape" && picks.ids.size > 0) picks.onNone();
    else if ((event.key === "x" || event.key === " ") && item !== undefined) picks.onToggle(idOf(item));
    else if (["J", "K", "ArrowDown", "ArrowUp"].includes(event.key) && event.shiftKey) {
      const next = items[current + (event.key === "J" || event.key === "ArrowDown" ? 1 : -1)];
      if (next === undefined) return true;
      // The first one of a range is where it began.
      if (item !== undefined && !picks.ids.has(idOf(item))) picks.onToggle(idOf(item));
      picks.onExtend(idOf(next));
      moveTo(items.indexOf(next));
    } else return false;
    return true;
  };

  const onKeyDown = (event: KeyboardEvent) => {
    // A button or a box in the head has keys of its own.
    if ((event.target as HTMLElement).closest(".grid-head, a") !== null) return;
    const at = active === null ? -1 : items.findIndex((item) => idOf(item) === active);
    if (onPickKey(event, at)) return event.preventDefault();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const current = at;
    const page = Math.max(1, Math.floor(height / rowHeight) - 1);
    const steps: Readonly<Record<string, number>> = {
      ArrowDown: current + 1,
      j: current + 1,
      ArrowUp: current - 1,
      k: current - 1,
      PageDown: current + page,
      PageUp: current - page,
      Home: 0,
      End: items.length - 1,
    };
    const next = steps[event.key];
    const item = items[current];
    if (next !== undefined) {
      event.preventDefault();
      moveTo(next);
    } else if (event.key === "Enter" && item !== undefined) onOpen(item);
  };

  const focusable = active !== null && shown.some((item) => idOf(item) === active) ? active : null;
  return (
    <div
      class="grid"
      role="grid"
      aria-label={label}
      aria-rowcount={total + 1}
      aria-multiselectable="true"
      ref={box}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
      tabIndex={focusable === null ? 0 : -1}
    >
      <div role="rowgroup" class="grid-head">
        <div class="row" role="row" aria-rowindex={1}>
          <span role="columnheader" class="c-pick">
            <PickAll picks={picks} items={items} />
          </span>
          {columns.map((column) => (
            <Head key={column.name} column={column} />
          ))}
        </div>
      </div>
      <div class="grid-body" role="rowgroup" style={{ height: `${items.length * rowHeight}px` }}>
        {shown.map((item, index) => {
          const id = idOf(item);
          return (
            <div
              class="row"
              role="row"
              key={id}
              data-row={id}
              aria-selected={picks.ids.has(id)}
              aria-rowindex={first + index + 2}
              tabIndex={id === focusable ? 0 : -1}
              style={{
                transform: `translateY(${(first + index) * rowHeight}px)`,
                height: `${rowHeight}px`,
              }}
              onFocusIn={() => setActive(id)}
              onClick={(event) => {
                // A link inside is a link; and what was only selected was not opened.
                const inner = (event.target as HTMLElement).closest("a, .c-pick");
                if (inner === null && String(getSelection()) === "") onOpen(item);
              }}
              onKeyDown={() => undefined}
            >
              <span role="gridcell" class="c-pick">
                <PickBox picks={picks} id={id} name={picks.nameOf(item)} />
              </span>
              {render(item)}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function Head({ column }: { column: Column }) {
  const { name, sorted, onSort } = column;
  return (
    <span role="columnheader" aria-sort={onSort === undefined ? undefined : (sorted ?? "none")}>
      {onSort === undefined ? (
        name
      ) : (
        <button type="button" class="sort" onClick={onSort}>
          {name}
          <span aria-hidden="true">{sorted === undefined ? "" : sorted === "descending" ? " ↓" : " ↑"}</span>
        </button>
      )}
    </span>
  );
}

/** Not a stop of the Tab key in every row: the keyboard picks with x and Shift. */
function PickBox<T>({ picks, id, name }: { picks: Picks<T>; id: string; name: string }) {
  return (
    <label>
      <input
        type="checkbox"
        tabIndex={-1}
        aria-label={`Select ${name}`}
        checked={picks.ids.has(id)}
        onClick={(event) => (event.shiftKey ? picks.onExtend(id) : picks.onToggle(id))}
      />
    </label>
  );
}

function PickAll<T>({ picks, items }: { picks: Picks<T>; items: readonly T[] }) {
  const box = useRef<HTMLInputElement>(null);
  const [n, all] = [picks.ids.size, items.length];
  useLayoutEffect(() => {
    if (box.current !== null) box.current.indeterminate = n > 0 && n < all;
  }, [n, all]);
  return (
    <label>
      <input
        ref={box}
        type="checkbox"
        aria-label="Select all rows that are loaded"
        checked={n > 0 && n >= all}
        onClick={picks.onAll}
      />
    </label>
  );
}

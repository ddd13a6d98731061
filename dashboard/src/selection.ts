// Which rows of a list are picked: one by one, or from the last one picked to another. Pure.

export interface Selection {
  readonly ids: ReadonlySet<string>;
  /** Where a range begins: what was picked last. */
  readonly anchor: string | null;
}

export const NONE: Selection = { ids: new Set(), anchor: null };

/** Picks one, or gives it up if it was picked. */
export function toggle({ ids }: Selection, id: string): Selection {
  const next = new Set(ids);
  if (!next.delete(id)) next.add(id);
  return { ids: next, anchor: id };
}

/** Picks all from the one picked last to this one; `order` is what stands in the list. */
export function extendTo(selection: Selection, order: readonly string[], id: string): Selection {
  const from = selection.anchor === null ? -1 : order.indexOf(selection.anchor);
  const to = order.indexOf(id);
  if (from === -1 || to === -1) return toggle({ ...selection, ids: without(selection.ids, id) }, id);
  const range = order.slice(Math.min(from, to), Math.max(from, to) + 1);
  return { ids: new Set([...selection.ids, ...range]), anchor: id };
}

const without = (ids: ReadonlySet<string>, id: string): ReadonlySet<string> =>
  new Set([...ids].filter((one) => one !== id));

/** All that stand in the list; or none, if all were picked. */
export function toggleAll({ ids }: Selection, order: readonly string[]): Selection {
  return order.every((id) => ids.has(id)) ? NONE : { ids: new Set(order), anchor: null };
}

/** What is picked and still there. */
export const picked = ({ ids }: Selection, order: readonly string[]): readonly string[] =>
  ids.size === 0 ? [] : order.filter((id) => ids.has(id));

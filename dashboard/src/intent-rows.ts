// The rows of one list while it is looked at: the first page at once, the others as they are asked for, current by the feed.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get, query } from "./api.ts";
import { useFeed, useThrottled } from "./hooks.ts";
import { addPage, applyFrames, type Filters, type Order, requestOf } from "./intent-list.ts";
import type { IntentRow } from "./wire.ts";

const PAGE = 100;
/** What is new stands at their top. */
const GROWING: readonly Order[] = ["newest", "recently_changed"];
/** More rows than this at the top of a busy list are started anew. */
const ROWS_MAX = 4_000;
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

/** `key` stands for the filters: with another one the list begins anew. */
export function useRows(filters: Filters, key: string) {
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

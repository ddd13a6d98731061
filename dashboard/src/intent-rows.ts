// The rows of one list while it is looked at: the first page at once, the others as they are asked for, current by the feed.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get, query } from "./api.ts";
import { useFeed, useThrottled } from "./hooks.ts";
import { addPage, applyFrames, type Filters, type Order, requestOf } from "./intent-list.ts";
import type { FeedFrame, IntentRow } from "./wire.ts";

const PAGE = 100;
/** What is new stands at their top. */
const GROWING: readonly Order[] = ["newest", "recently_changed"];
/** More rows than this at the top of a busy list are started anew. */
const ROWS_MAX = 4_000;
/** So many stay when the list is read again: whoever reads further down than the first page is not thrown back to it. */
const KEPT_MAX = 1_000;
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
  /** What the feed told since the list is being read again: the answer may not know of it yet. */
  const meanwhile = useRef<FeedFrame[]>([]);

  const put = useCallback((next: Loaded) => {
    state.current = next;
    setLoaded(next);
  }, []);

  const pageAfter = useCallback(
    (cursor: string | null) => {
      const params = {
        ...requestOf(filters, Date.now()),
        status: filters.status.join(","),
        text: filters.text,
        paused: filters.paused ? "true" : "",
        order: filters.order,
        limit: PAGE,
        cursor,
      };
      return get<ListAnswer>(`/v1/intents${query(params)}`);
    },
    [key],
  );

  const load = useCallback(
    async (more: boolean) => {
      if (more && (busy.current || state.current.cursor === null)) return;
      const mine = more ? generation.current : ++generation.current;
      const wanted = more ? 0 : Math.min(state.current.list.length, KEPT_MAX);
      busy.current = true;
      if (!more) meanwhile.current = [];
      try {
        let cursor = more ? state.current.cursor : null;
        let read: readonly IntentRow[] = [];
        let page: ListAnswer;
        do {
          page = await pageAfter(cursor);
          if (mine !== generation.current) return;
          read = addPage(read, page.intents);
          cursor = page.next_cursor;
        } while (cursor !== null && read.length < wanted);
        const list = more
          ? addPage(state.current.list, read)
          : applyFrames({ list: read, complete: cursor === null }, meanwhile.current, filters).list;
        const sortedOf = page.sorted?.capped === true ? page.sorted.among : null;
        put({ key, list, cursor, error: null, done: true, sortedOf });
      } catch (error) {
        if (mine === generation.current) put({ ...state.current, key, error: error as Error, done: true });
      } finally {
        if (mine === generation.current) busy.current = false;
      }
    },
    [key, put, pageAfter],
  );

  useEffect(() => {
    put(nothing(key));
    void load(false);
  }, [load]);

  const reread = useThrottled(REREAD_MS, () => void load(false));
  useFeed((frames) => {
    const { list: before, cursor, done } = state.current;
    if (busy.current) meanwhile.current.push(...frames);
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

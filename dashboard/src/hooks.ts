// Reading from the server inside components: once, again when told to, never twice at once, and not faster than the server answers.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type FeedListener, listen } from "./feed.ts";
import type { FeedFrame } from "./wire.ts";

export interface Resource<T> {
  readonly data: T | undefined;
  readonly error: Error | undefined;
  readonly loading: boolean;
  /** Soon, and together with whoever else asks meanwhile. */
  readonly refresh: () => void;
}

/** A read takes at most this share of the time. */
const SHARE = 5;

/** Loads when `key` changes, and at every refresh, at most every `minMs`. Null as key: not yet. */
export function useResource<T>(
  key: string | null,
  load: (signal: AbortSignal) => Promise<T>,
  minMs = 500,
): Resource<T> {
  const [state, setState] = useState<{ key: string | null; data: T | undefined; error: Error | undefined }>({
    key,
    data: undefined,
    error: undefined,
  });
  const [loading, setLoading] = useState(true);
  const loader = useRef(load);
  loader.current = load;
  const again = useRef<() => void>(() => undefined);

  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    let timer = 0;
    let running = false;
    let wanted = false;
    let notBefore = 0;
    const run = async (): Promise<void> => {
      running = true;
      wanted = false;
      setLoading(true);
      const began = performance.now();
      try {
        const data = await loader.current(stop.signal);
        if (!stop.signal.aborted) setState({ key, data, error: undefined });
      } catch (error) {
        if (!stop.signal.aborted)
          setState((old) => ({ key, data: old.key === key ? old.data : undefined, error: error as Error }));
      }
      if (stop.signal.aborted) return;
      running = false;
      setLoading(false);
      const took = performance.now() - began;
      notBefore = performance.now() + Math.max(minMs, took * SHARE);
      if (wanted) plan();
    };
    const plan = (): void => {
      wanted = true;
      if (running || timer !== 0) return;
      timer = window.setTimeout(
        () => {
          timer = 0;
          void run();
        },
        Math.max(0, notBefore - performance.now()),
      );
    };
    again.current = plan;
    void run();
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [key, minMs]);

  const refresh = useCallback(() => again.current(), []);
  const fresh = state.key === key;
  return { data: fresh ? state.data : undefined, error: fresh ? state.error : undefined, loading, refresh };
}

/** Follows the feed for as long as the component is there. */
export function useFeed(onFrames: (frames: readonly FeedFrame[]) => void, onReload: () => void): void {
  const latest = useRef<FeedListener>({ onFrames, onReload });
  latest.current = { onFrames, onReload };
  useEffect(
    () =>
      listen({
        onFrames: (frames) => latest.current.onFrames(frames),
        onReload: () => latest.current.onReload(),
      }),
    [],
  );
}

/** The time, for ages; as often as they are worth to be drawn. */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** Reads again every so often, for what no event tells. */
export function useEvery(ms: number, action: () => void): void {
  const latest = useRef(action);
  latest.current = action;
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) latest.current();
    }, ms);
    return () => clearInterval(timer);
  }, [ms]);
}

/** Calls once it has been quiet for so long. */
export function useDebounced<A>(ms: number, action: (argument: A) => void): (argument: A) => void {
  const latest = useRef(action);
  latest.current = action;
  const timer = useRef(0);
  return useCallback(
    (argument: A) => {
      clearTimeout(timer.current);
      timer.current = window.setTimeout(() => latest.current(argument), ms);
    },
    [ms],
  );
}

/** At once, and then at most every `ms`. */
export function useThrottled(ms: number, action: () => void): () => void {
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

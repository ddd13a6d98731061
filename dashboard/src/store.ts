// The smallest thing that components can watch.

import { useEffect, useState } from "preact/hooks";

export interface Value<T> {
  get(): T;
  set(next: T): void;
  on(listener: (value: T) => void): () => void;
}

export function value<T>(first: T): Value<T> {
  let current = first;
  const listeners = new Set<(value: T) => void>();
  return {
    get: () => current,
    set(next) {
      if (Object.is(next, current)) return;
      current = next;
      for (const listener of [...listeners]) listener(next);
    },
    on(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export function useValue<T>(source: Value<T>): T {
  const [shown, show] = useState(source.get());
  useEffect(() => {
    show(() => source.get());
    return source.on((next) => show(() => next));
  }, [source]);
  return shown;
}

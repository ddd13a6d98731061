// Reads of single rows that are asked for in one turn of the event loop, made as one: after a commit, all whom it answers ask at once.

import type { Store } from "./connection.ts";

type ReadMany<T> = (store: Store, ids: readonly string[]) => Promise<ReadonlyMap<string, T>>;
type ReadOne<T> = (store: Store, id: string) => Promise<T | undefined>;

interface Asked<T> {
  readonly id: string;
  readonly resolve: (value: T | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** @param atOnce how many ids one query takes at most */
export function coalesced<T>(read: ReadMany<T>, atOnce: number): ReadOne<T> {
  const waiting = new WeakMap<Store, Asked<T>[]>();
  const ask = (store: Store, asked: readonly Asked<T>[]): void => {
    const ids = [...new Set(asked.map(({ id }) => id))];
    read(store, ids).then(
      (found) => {
        for (const { id, resolve } of asked) resolve(found.get(id));
      },
      (error) => {
        for (const { reject } of asked) reject(error);
      },
    );
  };
  return (store, id) =>
    new Promise((resolve, reject) => {
      const one = { id, resolve, reject };
      const list = waiting.get(store);
      if (list !== undefined) {
        list.push(one);
        return;
      }
      const asked = [one];
      waiting.set(store, asked);
      // Behind everything that this turn's promises still lead to.
      process.nextTick(() => {
        waiting.delete(store);
        for (let from = 0; from < asked.length; from += atOnce) ask(store, asked.slice(from, from + atOnce));
      });
    });
}

// Who wants to know what: hints from commits to those who wait. A hint may be lost; every waiter also polls.

import type { Change } from "../store/workspace.ts";

type Listener = () => void;

class Topic {
  readonly #listeners = new Map<string, Set<Listener>>();

  on(key: string, listener: Listener): () => void {
    const set = this.#listeners.get(key) ?? new Set();
    set.add(listener);
    this.#listeners.set(key, set);
    return () => {
      set.delete(listener);
      if (set.size === 0) this.#listeners.delete(key);
    };
  }

  wake(key: string): void {
    for (const listener of [...(this.#listeners.get(key) ?? [])]) listener();
  }

  wakeAll(): void {
    for (const key of [...this.#listeners.keys()]) this.wake(key);
  }

  get keys(): string[] {
    return [...this.#listeners.keys()];
  }
}

export class Wakeups {
  /** By intent id: its log grew. */
  readonly intents = new Topic();
  /** By address: something may be claimed. */
  readonly addresses = new Topic();
  readonly #observers: ((changes: readonly Change[]) => void)[] = [];

  /** Sees every local commit. */
  observe(observer: (changes: readonly Change[]) => void): void {
    this.#observers.push(observer);
  }

  committed(changes: readonly Change[]): void {
    for (const observer of this.#observers) observer(changes);
    for (const { after } of changes) this.intents.wake(after.id);
  }
}

/** Resolves at the next wake, after `ms`, or when the signal aborts; never rejects. */
export function nextWake(
  subscribe: (listener: Listener) => () => void,
  ms: number,
  signal?: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      unsubscribe();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(0, ms));
    const unsubscribe = subscribe(done);
    signal?.addEventListener("abort", done);
  });
}

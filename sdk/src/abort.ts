// Owns: waiting and time limits that end when a signal says so. Must not: know what is being waited for.
// AbortSignal.any and AbortSignal.timeout are avoided: the first is missing in the oldest runtimes, both keep listeners alive too long.
import { realTimers, type Timers } from "./timers.ts";

const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `callback` once when the signal aborts; returns the undoing. Any number of callbacks shares one listener, because runtimes warn of a
 * leak from the eleventh on, and a hundred waits on one signal are no leak.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let callbacks = listeners.get(signal);
  if (callbacks === undefined) {
    const fresh = new Set<() => void>();
    callbacks = fresh;
    listeners.set(signal, fresh);
    signal.addEventListener("abort", () => {
      for (const each of [...fresh]) each();
      fresh.clear();
    });
  }
  callbacks.add(callback);
  return () => callbacks.delete(callback);
}

export interface LinkedAbort {
  readonly signal: AbortSignal;
  /** Ends it from here. */
  abort(reason: unknown): void;
  /** Starts the time limit anew, with another length when one is given. */
  touch(ms?: number): void;
  /** Removes listeners and timer. To be called in every `finally`. */
  release(): void;
}

/** A signal that aborts with any of `sources`, or with `limit.reason()` once `limit.ms` pass without `touch`. */
export function linkAbort(
  sources: readonly (AbortSignal | undefined)[],
  limit?: { ms: number; reason: () => unknown },
  timers: Timers = realTimers,
): LinkedAbort {
  const controller = new AbortController();
  const undo: (() => void)[] = [];
  let disarm: () => void = () => undefined;
  const arm = (ms = limit?.ms) => {
    disarm();
    if (limit === undefined || ms === undefined || controller.signal.aborted) return;
    disarm = timers.limit(ms, () => controller.abort(limit.reason()));
  };
  for (const source of sources) {
    if (source === undefined) continue;
    if (source.aborted) {
      controller.abort(source.reason);
      break;
    }
    undo.push(onAbort(source, () => controller.abort(source.reason)));
  }
  arm();
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    touch: arm,
    release: () => {
      disarm();
      for (const remove of undo) remove();
    },
  };
}

/** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
export function pause(ms: number, signal?: AbortSignal, timers: Timers = realTimers): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    let forget: () => void = () => undefined;
    const undo = timers.delay(ms, () => {
      forget();
      resolve();
    });
    if (signal === undefined) return;
    forget = onAbort(signal, () => {
      undo();
      reject(signal.reason);
    });
  });
}

/** Settles like `work`, or resolves to `undefined` once `ms` have passed. */
export function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

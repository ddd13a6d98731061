// Owns: waiting and time limits that end when a signal says so. Must not: know what is being waited for.
// AbortSignal.any and AbortSignal.timeout are avoided: the first is missing in the oldest runtimes, both keep listeners alive too long.

/** A longer timer fires at once in every runtime. */
const LONGEST_TIMER_MS = 2_147_483_647;

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
): LinkedAbort {
  const controller = new AbortController();
  const undo: (() => void)[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const arm = (ms = limit?.ms) => {
    clearTimeout(timer);
    if (limit === undefined || ms === undefined || controller.signal.aborted) return;
    timer = setTimeout(() => controller.abort(limit.reason()), Math.min(ms, LONGEST_TIMER_MS));
  };
  for (const source of sources) {
    if (source === undefined) continue;
    if (source.aborted) {
      controller.abort(source.reason);
      break;
    }
    const onAbort = () => controller.abort(source.reason);
    source.addEventListener("abort", onAbort, { once: true });
    undo.push(() => source.removeEventListener("abort", onAbort));
  }
  arm();
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    touch: arm,
    release: () => {
      clearTimeout(timer);
      for (const remove of undo) remove();
    },
  };
}

/** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      },
      Math.min(ms, LONGEST_TIMER_MS),
    );
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Settles like `work`, or resolves to `undefined` once `ms` have passed. */
export function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

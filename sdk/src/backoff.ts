// Owns: how long to wait before another try. Must not: wait.
import type { Duration } from "./duration.ts";
import { toMs } from "./duration.ts";

/** How often and how far apart to try again. Jitter is always on. */
export interface Retry {
  /** Tries after the first one. */
  maxRetries: number;
  /** Delay before the first retry. Default 1 s. */
  initialDelay?: Duration;
  /** Growth per retry. Default 2. */
  factor?: number;
  /** Longest delay. Default 60 s. */
  maxDelay?: Duration;
}

const DEFAULT_INITIAL_MS = 1_000;
const DEFAULT_FACTOR = 2;
const DEFAULT_MAX_MS = 60_000;

/** Between half of `ms` and all of it: a fleet that failed together must not come back together. */
export function jitter(ms: number, random: () => number = Math.random): number {
  return ms * (0.5 + random() * 0.5);
}

/** The delay in milliseconds before retry number `retry` (1 = the first) under `policy`. */
export function retryDelayMs(policy: Retry, retry: number, random: () => number = Math.random): number {
  const initial = policy.initialDelay === undefined ? DEFAULT_INITIAL_MS : toMs(policy.initialDelay);
  const max = policy.maxDelay === undefined ? DEFAULT_MAX_MS : toMs(policy.maxDelay);
  const grown = initial * (policy.factor ?? DEFAULT_FACTOR) ** Math.max(0, retry - 1);
  return jitter(Math.min(grown, max), random);
}

/** Growing delays for one thing that keeps failing. The first is quick, because most failures are one dropped socket. */
export class Backoff {
  #next: number;
  readonly #first: number;
  readonly #max: number;
  readonly #random: () => number;

  constructor(firstMs = 100, maxMs = 5_000, random: () => number = Math.random) {
    this.#first = firstMs;
    this.#next = firstMs;
    this.#max = maxMs;
    this.#random = random;
  }

  /** The next delay in milliseconds; each call doubles the one after it, up to the cap. */
  next(): number {
    const delay = jitter(this.#next, this.#random);
    this.#next = Math.min(this.#next * 2, this.#max);
    return delay;
  }

  /** To be called when it worked. */
  reset(): void {
    this.#next = this.#first;
  }
}

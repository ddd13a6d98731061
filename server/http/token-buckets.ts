// Token buckets by name, in memory: each fills at a steady rate up to a burst, and every request takes one token. Knows
// no clock but the one it is handed, and forgets whoever has not come for as long as a bucket takes to fill.

export interface Quota {
  /** Tokens a second. */
  readonly rate: number;
  readonly burst: number;
}

export interface Taken {
  readonly granted: boolean;
  /** Whole tokens that are left. */
  readonly remaining: number;
  /** Seconds until the bucket is full again. */
  readonly fullInSeconds: number;
  /** Seconds until there is a token; 0 when there is one. */
  readonly nextInSeconds: number;
}

interface Bucket {
  tokens: number;
  /** When it was last looked at, in milliseconds. */
  at: number;
}

export class TokenBuckets {
  readonly #quota: Quota;
  readonly #max: number;
  /** In the order in which they were last used. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(quota: Quota, max = 100_000) {
    this.#quota = quota;
    this.#max = max;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes a token if there is one. `nowMs` never goes back. */
  take(name: string, nowMs: number): Taken {
    const bucket = this.#filled(name, nowMs);
    const granted = bucket.tokens >= 1;
    if (granted) bucket.tokens -= 1;
    this.#buckets.delete(name);
    this.#buckets.set(name, bucket);
    this.#forget(nowMs);
    return this.#stateOf(granted, bucket);
  }

  #filled(name: string, nowMs: number): Bucket {
    const { rate, burst } = this.#quota;
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) return { tokens: burst, at: nowMs };
    return { tokens: Math.min(burst, bucket.tokens + ((nowMs - bucket.at) / 1_000) * rate), at: nowMs };
  }

  #stateOf(granted: boolean, { tokens }: Bucket): Taken {
    const { rate, burst } = this.#quota;
    return {
      granted,
      remaining: Math.floor(tokens),
      fullInSeconds: Math.ceil((burst - tokens) / rate),
      nextInSeconds: tokens >= 1 ? 0 : Math.ceil((1 - tokens) / rate),
    };
  }

  /** The oldest go when they are full again, which is as if they had never come, or when there are too many. */
  #forget(nowMs: number): void {
    const fillMs = (this.#quota.burst / this.#quota.rate) * 1_000;
    for (const [name, { at }] of this.#buckets) {
      if (nowMs - at < fillMs && this.#buckets.size <= this.#max) return;
      this.#buckets.delete(name);
    }
  }
}

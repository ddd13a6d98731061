// How many requests a client may make: a token bucket for each key, or for each remote address where there are no keys,
// and one for each remote address that shows wrong ones. Headers as in draft-ietf-httpapi-ratelimit-headers-10.

import type { FastifyInstance, FastifyRequest } from "fastify";
import { PerdureError } from "../errors.ts";
import { clientOf, remoteOf } from "./clients.ts";
import { type Quota, type Taken, TokenBuckets } from "./token-buckets.ts";
import { isWindow } from "./windowed.ts";

export interface RateLimitOptions {
  /** Null: no limit. */
  readonly quota: Quota | null;
  /** Whether requests are told apart by key; else by remote address. */
  readonly keyed: boolean;
}

/** What balancers and supervisors ask to learn how the server is: an answer of 429 would say that it is ill. */
const UNLIMITED: ReadonlySet<string> = new Set(["/health", "/v1/health", "/ready"]);

/** At this pace a client with a wrong key costs little. */
const WRONG_KEYS_RATE = 5;

function refused(taken: Taken, message: string): PerdureError {
  return new PerdureError("rate_limited", message, { retryAfterSeconds: taken.nextInSeconds });
}

/** Wrong keys, by the address they come from. Whoever shows a right one goes on, whoever else is behind that address. */
export class WrongKeys {
  readonly #buckets: TokenBuckets;

  constructor(burst: number) {
    this.#buckets = new TokenBuckets({ rate: WRONG_KEYS_RATE, burst });
  }

  /** Throws 429 `rate_limited` when there were too many. */
  count(request: FastifyRequest): void {
    const taken = this.#buckets.take(remoteOf(request), performance.now());
    if (!taken.granted)
      throw refused(
        taken,
        "too many requests without a valid key came from this address; wait, then send one",
      );
  }
}

/** Behind auth, which says whose requests they are, and before their rights are looked at: refusals count too. */
export function installRateLimits(app: FastifyInstance, { quota, keyed }: RateLimitOptions): void {
  if (quota !== null) limitClients(app, quota, keyed);
}

function limitClients(app: FastifyInstance, quota: Quota, keyed: boolean): void {
  const buckets = new TokenBuckets(quota);
  const policy = `"default";q=${quota.burst};w=${Math.max(1, Math.ceil(quota.burst / quota.rate))}`;
  app.addHook("onRequest", (request, reply, done) => {
    if (UNLIMITED.has(request.routeOptions.url ?? "")) return done();
    const taken = buckets.take(clientOf(request, keyed), performance.now());
    void reply.header("ratelimit-policy", policy);
    void reply.header("ratelimit", `"default";r=${taken.remaining};t=${taken.fullInSeconds}`);
    if (!taken.granted && isWindow(request)) request.heldOnly = true;
    else if (!taken.granted)
      throw refused(
        taken,
        `more than ${quota.rate} requests a second (PERDURE_RATE_LIMIT); wait as long as Retry-After says`,
      );
    done();
  });
}

// How many requests a client may make: a token bucket for each key, or for each remote address where there are no keys,
// and one for each remote address that shows wrong keys. Headers as in draft-ietf-httpapi-ratelimit-headers-10.

import type { FastifyInstance } from "fastify";
import { PerdureError } from "../errors.ts";
import { clientOf, remoteOf } from "./clients.ts";
import { type Quota, type Taken, TokenBuckets } from "./token-buckets.ts";

export interface RateLimitOptions {
  /** Null: no limit. */
  readonly quota: Quota | null;
  /** Whether requests are told apart by key; else by remote address. */
  readonly keyed: boolean;
}

/** What balancers and supervisors ask to learn how the server is: an answer of 429 would say that it is ill. */
const UNLIMITED: ReadonlySet<string> = new Set(["/health", "/v1/health", "/ready"]);

/** Guessing a key of 64 random bits at this pace takes longer than the universe has had. */
const WRONG_KEYS: Quota = { rate: 5, burst: 100 };

function refused(taken: Taken, message: string): PerdureError {
  return new PerdureError("rate_limited", message, { retryAfterSeconds: taken.nextInSeconds });
}

/** Before auth, whose refusals it counts; requests are counted behind auth, which says whose they are. */
export function installRateLimits(app: FastifyInstance, options: RateLimitOptions): void {
  if (options.keyed) limitWrongKeys(app);
  if (options.quota !== null) limitClients(app, options.quota, options.keyed);
}

function limitWrongKeys(app: FastifyInstance): void {
  const buckets = new TokenBuckets(WRONG_KEYS);
  app.addHook("onRequest", (request, _reply, done) => {
    if (UNLIMITED.has(request.routeOptions.url ?? "")) return done();
    const found = buckets.look(remoteOf(request), performance.now());
    if (!found.granted)
      throw refused(
        found,
        "too many requests without a valid key came from this address; wait, then send one",
      );
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    if (reply.statusCode === 401) buckets.take(remoteOf(request), performance.now());
    done();
  });
}

function limitClients(app: FastifyInstance, quota: Quota, keyed: boolean): void {
  const buckets = new TokenBuckets(quota);
  const policy = `"default";q=${quota.burst};w=${Math.max(1, Math.ceil(quota.burst / quota.rate))}`;
  // Behind every onRequest hook, so behind auth, and before the body is read.
  app.addHook("preParsing", (request, reply, _payload, done) => {
    if (UNLIMITED.has(request.routeOptions.url ?? "")) return done();
    const taken = buckets.take(clientOf(request, keyed), performance.now());
    void reply.header("ratelimit-policy", policy);
    void reply.header("ratelimit", `"default";r=${taken.remaining};t=${taken.fullInSeconds}`);
    if (!taken.granted)
      throw refused(
        taken,
        `more than ${quota.rate} requests a second (PERDURE_RATE_LIMIT); wait as long as Retry-After says`,
      );
    done();
  });
}

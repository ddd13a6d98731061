// How many requests a client may make: a token bucket for each key, or for each remote address where there are no keys,
// and one for each remote address that shows wrong keys. Headers as in draft-ietf-httpapi-ratelimit-headers-10.

import { createHash } from "node:crypto";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { PerdureError } from "../errors.ts";
import { presentedKey } from "./auth.ts";
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

/** At this pace nobody guesses a key, and a client with a wrong one costs little. */
const WRONG_KEYS: Quota = { rate: 5, burst: 100 };
const PROVEN_MAX = 10_000;

function refused(taken: Taken, message: string): PerdureError {
  return new PerdureError("rate_limited", message, { retryAfterSeconds: taken.nextInSeconds });
}

/** Before auth, whose refusals it counts; requests are counted behind auth, which says whose they are. */
export function installRateLimits(app: FastifyInstance, options: RateLimitOptions): void {
  if (options.keyed) limitWrongKeys(app);
  if (options.quota !== null) limitClients(app, options.quota, options.keyed);
}

/** Whoever shares an address with somebody who guesses goes on with a key that was right before. */
function limitWrongKeys(app: FastifyInstance): void {
  const buckets = new TokenBuckets(WRONG_KEYS);
  const proven = new Set<string>();
  app.addHook("onRequest", (request, _reply, done) => {
    if (UNLIMITED.has(request.routeOptions.url ?? "")) return done();
    const found = buckets.look(remoteOf(request), performance.now());
    if (!found.granted && !proven.has(fingerprint(request)))
      throw refused(
        found,
        "too many requests without a valid key came from this address; wait, then send one",
      );
    done();
  });
  // Behind auth. As long as nobody guesses, there is nothing to remember.
  app.addHook("preParsing", (request, _reply, _payload, done) => {
    if (buckets.size > 0 && !UNLIMITED.has(request.routeOptions.url ?? "")) {
      if (proven.size >= PROVEN_MAX) proven.clear();
      proven.add(fingerprint(request));
    }
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    if (reply.statusCode === 401) {
      buckets.take(remoteOf(request), performance.now());
      proven.delete(fingerprint(request));
    }
    done();
  });
}

/** Keys are not kept in memory for longer than a request. */
const fingerprint = (request: FastifyRequest): string =>
  createHash("sha256")
    .update(presentedKey(request) ?? "")
    .digest("base64url");

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

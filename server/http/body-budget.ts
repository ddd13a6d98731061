// What bodies may hold in memory, all together and one client's: those of requests from their first byte until they are answered,
// those of large answers until they are read. A bound on each alone is none on many: whoever has a key could hold back the last
// byte of a thousand, or read none of theirs.

import { Transform } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest, RequestPayload } from "fastify";
import { PerdureError } from "../errors.ts";
import { clientOf } from "./clients.ts";

export interface BodyBudgetOptions {
  readonly maxBytes: number;
  /** Whether clients are told apart by key; else by remote address. */
  readonly keyed: boolean;
}

/** One client leaves so much to the others. */
const CLIENT_SHARE = 2;
const RETRY_SECONDS = 2;
/** What the kernel takes at once from most connections. */
const LARGE_BYTES = 64 * 1024;

class BodyBudget {
  readonly #max: number;
  readonly #held = new Map<string, number>();
  #total = 0;

  constructor(maxBytes: number) {
    this.#max = maxBytes;
  }

  /** Throws 429 `too_much_at_once` when there is no room. */
  take(client: string, bytes: number): void {
    const own = (this.#held.get(client) ?? 0) + bytes;
    if (own > this.#max / CLIENT_SHARE) throw tooMuch("your requests hold");
    if (this.#total + bytes > this.#max) throw tooMuch("the server holds");
    this.count(client, bytes);
  }

  /** Takes whether there is room or not. */
  count(client: string, bytes: number): void {
    this.#held.set(client, (this.#held.get(client) ?? 0) + bytes);
    this.#total += bytes;
  }

  give(client: string, bytes: number): void {
    this.#total -= bytes;
    const left = (this.#held.get(client) ?? bytes) - bytes;
    if (left <= 0) this.#held.delete(client);
    else this.#held.set(client, left);
  }
}

function tooMuch(who: string): PerdureError {
  return new PerdureError(
    "too_much_at_once",
    `${who} as much of unfinished requests and unread answers as it may (PERDURE_BODIES_MAX_BYTES); make fewer large ones at a time`,
    { retryAfterSeconds: RETRY_SECONDS },
  );
}

/** Behind auth: bodies of nobody's are never read. */
export function installBodyBudget(app: FastifyInstance, { maxBytes, keyed }: BodyBudgetOptions): void {
  const budget = new BodyBudget(maxBytes);
  app.addHook("preParsing", (request, reply, payload, done) => {
    const announced = Number(request.headers["content-length"] ?? 0);
    const isChunked = request.headers["transfer-encoding"] !== undefined;
    // Closed already: that has been told, nothing more will come, and nobody would give it back.
    if ((announced === 0 && !isChunked) || reply.raw.destroyed) return done();
    const take = taking(budget, clientOf(request, keyed), reply);
    if (isChunked) return done(null, counted(request, payload, take));
    // What is larger than its route allows is refused before it is read.
    take(Math.min(announced, request.routeOptions.bodyLimit));
    done();
  });
  app.addHook("onSend", (request, reply, payload, done) => {
    const bytes = typeof payload === "string" || Buffer.isBuffer(payload) ? payload.length : 0;
    if (bytes < LARGE_BYTES || reply.raw.destroyed) return done(null, payload);
    const client = clientOf(request, keyed);
    // What has been done is told in any case.
    if (request.method === "GET") budget.take(client, bytes);
    else budget.count(client, bytes);
    reply.raw.once("close", () => budget.give(client, bytes));
    done(null, payload);
  });
}

/** Takes for one request, and gives back when its answer is closed, however that comes about. */
function taking(budget: BodyBudget, client: string, reply: FastifyReply): (bytes: number) => void {
  let taken = 0;
  reply.raw.once("close", () => budget.give(client, taken));
  return (bytes) => {
    budget.take(client, bytes);
    taken += bytes;
  };
}

/** The same stream, which breaks off when there is no more room; what still comes is dropped by Node. */
function counted(request: FastifyRequest, payload: RequestPayload, take: (bytes: number) => void): Transform {
  const through = new Transform({
    transform(chunk: Buffer, _encoding, next) {
      try {
        take(chunk.length);
        next(null, chunk);
      } catch (error) {
        next(error as Error);
      }
    },
  });
  // A client that hangs up ends this one, too.
  payload.once("error", (error: Error) => through.destroy(error));
  request.raw.once("close", () => {
    if (!request.raw.complete) through.destroy();
  });
  return payload.pipe(through);
}

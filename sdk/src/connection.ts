// Owns: keeping an agent's stream open: connect, read, reconnect for ever, and which refusals are the end. Must not: act on frames.
import { linkAbort, pause } from "./abort.ts";
import { Backoff, jitter } from "./backoff.ts";
import { PerdureError } from "./errors.ts";
import { type EventStreamRequest, readEventStream } from "./event-stream.ts";
import type { Http } from "./http.ts";
import type { Wire } from "./intents.ts";
import type { Logger } from "./logger.ts";

export interface ConnectionHooks {
  /** The query of the next connection. */
  query(): EventStreamRequest["query"];
  onFrame(event: string, data: Wire): void;
}

/** A refused name is asked for often at first: its last owner is usually our own past life, gone within the grace. */
const NAME_RETRY_MS = 250;
const NAME_PATIENCE_MS = 10_000;
const LONGEST_DELAY_MS = 5_000;
/** A connection that lived this long was a good one. */
const STEADY_MS = 2_000;

export class Connection {
  readonly #http: Http;
  readonly #logger: Logger;
  readonly #path: string;
  readonly #hooks: ConnectionHooks;
  readonly #stopped = new AbortController();
  #current: ReturnType<typeof linkAbort> | undefined;
  #isOpen = false;
  #refusedSince: number | undefined;

  constructor(http: Http, logger: Logger, path: string, hooks: ConnectionHooks) {
    this.#http = http;
    this.#logger = logger;
    this.#path = path;
    this.#hooks = hooks;
  }

  /** Resolves after `stop`; rejects with the refusal that no new try would change. */
  async run(): Promise<void> {
    const backoff = new Backoff(100, LONGEST_DELAY_MS);
    let down = false;
    while (!this.#stopped.signal.aborted) {
      const began = Date.now();
      let failure: unknown;
      try {
        await this.#connect(() => {
          if (down) this.#logger.info(`connected to ${this.#http.baseUrl} again`);
          down = false;
          this.#refusedSince = undefined;
        });
      } catch (error) {
        failure = error;
      }
      if (this.#stopped.signal.aborted) return;
      if (isFinal(failure)) throw failure;
      if (Date.now() - began > STEADY_MS) backoff.reset();
      if (failure !== undefined && !down) {
        down = true;
        this.#logger.warn(
          `${failure instanceof Error ? failure.message : String(failure)}; trying again for as long as it takes`,
        );
      }
      await pause(this.#delayMs(failure, backoff), this.#stopped.signal).catch(() => undefined);
    }
  }

  /** Leaves the open connection for a new one. One that is being made is new: what makes us ask is about the one before. */
  reconnect(): void {
    if (!this.#isOpen) return;
    this.#current?.abort(
      new PerdureError("unreachable", "the consumer has to be registered anew", { retryable: true }),
    );
  }

  stop(): void {
    this.#stopped.abort(new PerdureError("client_closed", "the agent has stopped"));
  }

  async #connect(onOpen: () => void): Promise<void> {
    const scope = linkAbort([this.#stopped.signal]);
    this.#current = scope;
    try {
      const request = { path: this.#path, query: this.#hooks.query(), signal: scope.signal };
      for await (const message of readEventStream(this.#http, request)) {
        if (message.event === "stream.open") {
          this.#isOpen = true;
          onOpen();
        }
        if (message.event === "stream.end") return;
        this.#hooks.onFrame(message.event, JSON.parse(message.data));
      }
    } finally {
      scope.release();
      this.#isOpen = false;
      this.#current = undefined;
    }
  }

  #delayMs(failure: unknown, backoff: Backoff): number {
    if (!PerdureError.is(failure, "consumer_in_use")) return Math.min(backoff.next(), LONGEST_DELAY_MS);
    this.#refusedSince ??= Date.now();
    if (Date.now() - this.#refusedSince < NAME_PATIENCE_MS) return jitter(NAME_RETRY_MS);
    return Math.min(jitter(failure.retryAfterMs ?? LONGEST_DELAY_MS), LONGEST_DELAY_MS);
  }
}

/** A bad key, a name that belongs to somebody else now, or a request that is wrong in itself. */
export function isFinal(error: unknown): error is PerdureError {
  if (!PerdureError.is(error)) return false;
  if (error.code === "consumer_superseded") return true;
  return error.status === 400 || error.status === 401 || error.status === 403 || error.status === 422;
}

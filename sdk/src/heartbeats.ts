// Owns: telling the server, in time, that this consumer lives and what it holds. Must not: act on the answer.
import { jitter } from "./backoff.ts";
import type { HeartbeatAnswer, Held } from "./deliveries.ts";
import { PerdureError } from "./errors.ts";
import type { Http } from "./http.ts";

export interface HeartbeatHooks {
  ask(): { incarnation: string; holding: Held[]; capacity: number };
  onAnswer(asked: readonly Held[], answer: HeartbeatAnswer): void;
  /** The server refused: `consumer_lost`, `consumer_superseded`, a bad key. */
  onRefused(error: PerdureError): void;
  /** Nothing of this process ran for so long that a heartbeat was left out. */
  onStandstill(ms: number): void;
}

const RETRY_MS = 1_000;
const REQUEST_TIMEOUT_MS = 10_000;

export class Heartbeats {
  readonly #http: Http;
  readonly #hooks: HeartbeatHooks;
  readonly #stopped = new AbortController();
  #consumerId: string | undefined;
  /** Counts the streams that opened: an answer to what was asked before the newest may be about an older one. */
  #opened = 0;
  #intervalMs = 10_000;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #sending: Promise<void> | undefined;
  #queued: Promise<void> | undefined;

  constructor(http: Http, hooks: HeartbeatHooks) {
    this.#http = http;
    this.#hooks = hooks;
  }

  /** A stream opened: beat at once, then at the interval the server asked for. */
  begin(consumerId: string, intervalMs: number): void {
    this.#consumerId = consumerId;
    this.#opened += 1;
    this.#intervalMs = intervalMs;
    this.#watchStandstill();
    void this.beat();
  }

  /** Sends one now; settles when one that began after this call was answered or failed. Never rejects. */
  beat(): Promise<void> {
    if (this.#sending === undefined) {
      this.#sending = this.#send().finally(() => {
        this.#sending = undefined;
      });
      return this.#sending;
    }
    // What is on its way may carry an older capacity: one more, after it.
    this.#queued ??= this.#sending.then(() => {
      this.#queued = undefined;
      return this.beat();
    });
    return this.#queued;
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#stopped.abort(new PerdureError("client_closed", "the agent has stopped"));
  }

  async #send(): Promise<void> {
    clearTimeout(this.#timer);
    const consumerId = this.#consumerId;
    if (consumerId === undefined || this.#stopped.signal.aborted) return;
    let nextMs = this.#intervalMs;
    const opened = this.#opened;
    const body = this.#hooks.ask();
    try {
      const answer: HeartbeatAnswer = await this.#http.send({
        method: "POST",
        path: `/v1/consumers/${encodeURIComponent(consumerId)}/heartbeat`,
        body,
        retry: "never",
        timeoutMs: REQUEST_TIMEOUT_MS,
        signal: this.#stopped.signal,
        batch: { op: "consumer_heartbeat", consumer_id: consumerId },
      });
      this.#hooks.onAnswer(body.holding, answer);
    } catch (error) {
      nextMs = Math.min(RETRY_MS, nextMs);
      if (
        PerdureError.is(error) &&
        error.status !== undefined &&
        error.status < 500 &&
        error.status !== 429
      ) {
        // That stream is history: a new one opened while this was under way, and beats by itself.
        if (error.code === "consumer_lost" && this.#opened !== opened) return;
        // Silent until the next stream opens; unless one opened while this was under way.
        if (this.#opened === opened) this.#consumerId = undefined;
        this.#hooks.onRefused(error);
      }
    }
    if (this.#stopped.signal.aborted || this.#consumerId === undefined) return;
    // A little early rather than late: the server's patience counts from the last one.
    this.#timer = setTimeout(() => void this.beat(), jitter(nextMs));
  }

  /** A timer of its own: while a heartbeat is on its way there is none that could be late. */
  #watchStandstill(): void {
    clearTimeout(this.#watch);
    const intervalMs = this.#intervalMs;
    const setAt = performance.now();
    this.#watch = setTimeout(() => {
      const lateMs = performance.now() - setAt - intervalMs;
      if (lateMs > intervalMs) this.#hooks.onStandstill(lateMs);
      this.#watchStandstill();
    }, intervalMs);
  }
}

// Owns: the one stream that tells a client how intents ended, for however many waits: when it is opened and left, and which wait a word of
// it is for. Must not: answer a wait that it cannot serve. Whatever goes wrong here, the wait asks by itself (wait-for.ts).
import { linkAbort, onAbort, pause } from "./abort.ts";
import { Backoff } from "./backoff.ts";
import { PerdureError } from "./errors.ts";
import { readEventStream } from "./event-stream.ts";
import { type Http, isWorthRepeating } from "./http.ts";
import type { Wire } from "./intents.ts";
import { WatchCalls } from "./watch-calls.ts";

/** One wait for one intent. */
interface Waiter {
  /** The call that said so: what was told for an earlier one may be older than this wait. 0: not said yet. */
  mark: number;
  /** With the outcome; without one, the wait has to ask by itself. */
  readonly tell: (outcome: Wire | undefined) => void;
}

const INTENT_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** A connection that says nothing for so long: something in between holds streams back. */
const OPEN_MS = 8_000;
/** A server without such streams gets them with an upgrade, whatever else stands in the way may pass sooner. */
const WITHOUT_STREAMS_MS = 300_000;
const NO_STREAM_MS = 10_000;
/** A stream without waits is kept for a tenth of its life, so that a process which forgets `close` ends soon enough. */
const SHORTEST_IDLE_MS = 100;
const LONGEST_IDLE_MS = 3_000;
const STEADY_MS = 2_000;

export class Outcomes {
  readonly #http: Http;
  readonly #waiters = new Map<string, Waiter[]>();
  /** Waits that are under way, here or asking by themselves. */
  #waits = 0;
  #calls: WatchCalls | undefined;
  #marks = 0;
  #running = false;
  #openedAt: number | undefined;
  #notBefore = 0;
  #leave: (() => void) | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;

  constructor(http: Http) {
    this.#http = http;
  }

  /** A wait begins; to be called back once it is over. */
  enter(): () => void {
    this.#waits += 1;
    return () => {
      this.#waits -= 1;
    };
  }

  /**
   * The outcome of an intent, as the server tells it; undefined: this wait has to ask by itself, because it is alone, or the server has no
   * such stream, or nothing can be told of the intent there. Rejects with the signal's reason.
   */
  next(id: string, signal: AbortSignal): Promise<Wire | undefined> {
    const key = id.toLowerCase();
    // One wait costs one request either way; a stream would be another.
    const alone = this.#waits <= 1 && this.#calls === undefined;
    if (alone || Date.now() < this.#notBefore || !INTENT_ID.test(key)) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const release = onAbort(signal, () => {
        this.#drop(key, waiter);
        reject(signal.reason);
      });
      const tell = (outcome: Wire | undefined) => {
        release();
        resolve(outcome);
      };
      const waiter: Waiter = { mark: 0, tell };
      this.#add(key, waiter);
    });
  }

  #add(id: string, waiter: Waiter): void {
    const others = this.#waiters.get(id);
    if (others === undefined) this.#waiters.set(id, [waiter]);
    else others.push(waiter);
    clearTimeout(this.#idle);
    this.#calls?.add(id);
    if (!this.#running) void this.#run();
  }

  #drop(id: string, waiter: Waiter): void {
    const left = this.#waiters.get(id)?.filter((one) => one !== waiter) ?? [];
    this.#keep(id, left);
    if (left.length === 0) this.#calls?.forget(id);
  }

  #keep(id: string, left: Waiter[]): void {
    if (left.length > 0) this.#waiters.set(id, left);
    else this.#waiters.delete(id);
    if (this.#waiters.size === 0) this.#leaveSoon();
  }

  #leaveSoon(): void {
    clearTimeout(this.#idle);
    const openMs = this.#openedAt === undefined ? 0 : Date.now() - this.#openedAt;
    const idleMs = Math.min(Math.max(openMs / 10, SHORTEST_IDLE_MS), LONGEST_IDLE_MS);
    this.#idle = setTimeout(() => this.#leave?.(), idleMs);
  }

  /** Keeps the stream open for as long as somebody waits, and a little longer. */
  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiters.size > 0) {
      const left = linkAbort([this.#http.closing]);
      this.#leave = () => left.abort(new PerdureError("client_closed", "nobody waits any more"));
      await this.#stayConnected(left.signal);
      left.release();
      if (this.#http.closing.aborted) break;
    }
    clearTimeout(this.#idle);
    this.#leave = undefined;
    this.#running = false;
  }

  /** Resolves when it has been left, or when streams are given up for a while. */
  async #stayConnected(left: AbortSignal): Promise<void> {
    const backoff = new Backoff(50);
    while (!left.aborted) {
      const began = Date.now();
      const failure = await this.#listen(left).catch((error: unknown) => error);
      if (left.aborted) return;
      if (failure !== undefined && !isPassing(failure)) return this.#giveUp(failure);
      if (Date.now() - began > STEADY_MS) backoff.reset();
      const least = PerdureError.is(failure) ? (failure.retryAfterMs ?? 0) : 0;
      await pause(Math.max(backoff.next(), least), left).catch(() => undefined);
    }
  }

  /** For a while nobody tries again: those who wait, and those who come, ask by themselves. */
  #giveUp(failure: unknown): void {
    const without = PerdureError.is(failure) && failure.status === 404;
    this.#notBefore = Date.now() + (without ? WITHOUT_STREAMS_MS : NO_STREAM_MS);
    for (const id of [...this.#waiters.keys()]) this.#tell(id, Number.POSITIVE_INFINITY, undefined);
  }

  /** One connection, until the server ends it or it is left. */
  async #listen(left: AbortSignal): Promise<void> {
    const scope = linkAbort([left]);
    const patience = setTimeout(() => scope.abort(new NoStream()), OPEN_MS);
    const request = { path: "/v1/outcomes/stream", signal: scope.signal };
    try {
      for await (const { event, data } of readEventStream(this.#http, request)) {
        if (event === "stream.end") return;
        if (event === "intent.outcome") this.#hear(JSON.parse(data));
        if (event !== "stream.open") continue;
        clearTimeout(patience);
        this.#begin(JSON.parse(data).watcher, scope.signal);
      }
    } finally {
      clearTimeout(patience);
      this.#calls = undefined;
      this.#openedAt = undefined;
      scope.release();
      scope.abort(new PerdureError("unreachable", "the stream of outcomes has ended", { retryable: true }));
    }
  }

  /** Says to a new stream what is waited for. */
  #begin(watcher: string, signal: AbortSignal): void {
    this.#openedAt = Date.now();
    this.#calls = new WatchCalls(this.#http, watcher, signal, {
      mark: (ids) => this.#mark(ids),
      onUnserved: (ids, mark) => {
        for (const id of ids) this.#tell(id, mark, undefined);
      },
    });
    for (const id of this.#waiters.keys()) this.#calls.add(id);
    if (this.#waiters.size === 0) this.#leaveSoon();
  }

  /** The number of a call that says that these are waited for. */
  #mark(ids: readonly string[]): number {
    this.#marks += 1;
    for (const id of ids)
      for (const waiter of this.#waiters.get(id) ?? []) if (waiter.mark === 0) waiter.mark = this.#marks;
    return this.#marks;
  }

  #hear(told: Wire): void {
    this.#calls?.told(told.intent_id);
    this.#tell(told.intent_id, told.mark ?? 0, told.fetch === true ? undefined : told);
  }

  /** Tells those who had said that they wait by then. */
  #tell(id: string, mark: number, outcome: Wire | undefined): void {
    const waiters = this.#waiters.get(id);
    if (waiters === undefined) return;
    const meant = (waiter: Waiter) =>
      mark === Number.POSITIVE_INFINITY || (waiter.mark > 0 && waiter.mark <= mark);
    this.#keep(
      id,
      waiters.filter((waiter) => !meant(waiter)),
    );
    for (const waiter of waiters) if (meant(waiter)) waiter.tell(outcome);
  }
}

/** The connection stands, and nothing comes through it. */
class NoStream extends Error {}

/** A server that is away, or has too much to do: the waits would fare no better. */
const isPassing = (failure: unknown): boolean => !(failure instanceof NoStream) && isWorthRepeating(failure);

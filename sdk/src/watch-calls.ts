// Owns: saying to one open stream of outcomes which intents are waited for, many in a call, one call at a time. Must not: wait for outcomes.
import { pause } from "./abort.ts";
import { Backoff } from "./backoff.ts";
import { PerdureError } from "./errors.ts";
import { type Http, isWorthRepeating } from "./http.ts";

/** Others wait behind a call. */
const ANSWER_MS = 5_000;
const IDS_AT_ONCE = 1_000;
/** Behind a balancer a call may reach another server than the stream: each try takes another connection. */
const TRIES = 6;

interface WatchHooks {
  /** Numbers a call for these intents. */
  readonly mark: (ids: readonly string[]) => number;
  /** Nothing will be told of these. */
  readonly onUnserved: (ids: readonly string[], mark: number) => void;
}

export class WatchCalls {
  readonly #http: Http;
  readonly #path: string;
  /** Aborts when the stream has ended. */
  readonly #signal: AbortSignal;
  readonly #hooks: WatchHooks;
  readonly #backoff = new Backoff(50);
  #unsaid = new Set<string>();
  readonly #forgotten = new Set<string>();
  #saying = false;
  #misses = 0;

  constructor(http: Http, watcher: string, signal: AbortSignal, hooks: WatchHooks) {
    this.#http = http;
    this.#path = `/v1/outcomes/${encodeURIComponent(watcher)}/watch`;
    this.#signal = signal;
    this.#hooks = hooks;
  }

  /** With all that come in this turn, or while a call is on its way. */
  add(id: string): void {
    this.#forgotten.delete(id);
    this.#unsaid.add(id);
    this.#start();
  }

  /** Said along with what comes next, or once it is worth a call. */
  forget(id: string): void {
    if (this.#unsaid.delete(id)) return;
    this.#forgotten.add(id);
    if (this.#forgotten.size >= IDS_AT_ONCE) this.#start();
  }

  /** Its outcome was told: nothing is to be forgotten any more. */
  told(id: string): void {
    this.#forgotten.delete(id);
  }

  #start(): void {
    if (this.#saying) return;
    this.#saying = true;
    queueMicrotask(() => void this.#sayAll());
  }

  async #sayAll(): Promise<void> {
    while ((this.#unsaid.size > 0 || this.#forgotten.size >= IDS_AT_ONCE) && !this.#signal.aborted)
      await this.#saySome();
    this.#saying = false;
  }

  async #saySome(): Promise<void> {
    const ids = take(this.#unsaid, IDS_AT_ONCE);
    const forget = take(this.#forgotten, IDS_AT_ONCE);
    const mark = this.#hooks.mark(ids);
    try {
      const { missing } = await this.#http.send({
        method: "POST",
        path: this.#path,
        body: { intent_ids: ids, mark, ...(forget.length === 0 ? {} : { forget }) },
        timeoutMs: ANSWER_MS,
        signal: this.#signal,
      });
      this.#misses = 0;
      this.#backoff.reset();
      if (missing.length > 0) this.#hooks.onUnserved(missing, mark);
    } catch (error) {
      if (this.#signal.aborted) return;
      if (!this.#mayRepeat(error)) return this.#hooks.onUnserved(ids, mark);
      for (const id of forget) this.#forgotten.add(id);
      // In front again, without what nobody waits for any more.
      this.#unsaid = new Set([...ids.filter((id) => !this.#forgotten.has(id)), ...this.#unsaid]);
      // Another connection is all that it takes; anything else takes time.
      if (!isUnknown(error)) await this.#wait(error);
    }
  }

  #mayRepeat(error: unknown): boolean {
    if (!isUnknown(error)) return isWorthRepeating(error) && error.code !== "too_many_watches";
    this.#misses = (this.#misses + 1) % TRIES;
    return this.#misses > 0;
  }

  async #wait(error: unknown): Promise<void> {
    const least = PerdureError.is(error) ? (error.retryAfterMs ?? 0) : 0;
    await pause(Math.max(this.#backoff.next(), least), this.#signal).catch(() => undefined);
  }
}

const isUnknown = (error: unknown): boolean => PerdureError.is(error, "watcher_unknown");

function take<T>(set: Set<T>, count: number): T[] {
  const some: T[] = [];
  for (const one of set) {
    if (some.length >= count) break;
    some.push(one);
    set.delete(one);
  }
  return some;
}

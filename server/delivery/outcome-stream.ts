// One client's stream of outcomes: what it watches, and how it is told. What a commit here ended is told from the commit itself, while the
// reader keeps up; everything else is read, a few at a time, as the reader takes it. The registry of all streams is outcome-streams.ts.

import type { Outcome } from "../domain/intent.ts";
import type { Engine } from "../engine/context.ts";
import { type Ending, findEndings } from "../store/queries/endings.ts";
import { outcomeView } from "../wire/views.ts";
import { encodeFrame, type FrameStream } from "./frame-stream.ts";

/** One intent that one stream watches. There are tens of thousands: it holds only what is needed. */
export interface Watch {
  readonly intentId: string;
  readonly stream: OutcomeStream;
  /** Told again with the outcome. */
  readonly mark: number;
  /** Up to where its log is known; or that it is being read, and whether it has changed meanwhile. */
  seq: number;
  /** Another stream's, of the same intent. */
  next: Watch | null;
}

/** It is being read: what commits say of it now may be older than that. */
export const READING = -1;
/** It is being read, and has changed since that began. */
export const STIRRED = -2;

export interface OutcomeStreamOptions {
  readonly engine: Engine;
  readonly watcher: string;
  /** Whose it is: nobody else may add to it. */
  readonly owner: string;
  /** With whose others it shares the bound. */
  readonly client: string;
  readonly frames: FrameStream;
  /** It is not watched any more. */
  readonly onToldOf: (watch: Watch) => void;
  readonly onError: (error: unknown) => void;
}

const READ_AT_ONCE = 100;
const READ_AT_ONCE_BYTES = 1024 * 1024;
const RETRY_MS = 1_000;
/** What is written for one commit, before the reader is asked whether it keeps up. */
const TOLD_AT_ONCE = 256 * 1024;

export class OutcomeStream {
  readonly watches = new Set<Watch>();
  readonly #options: OutcomeStreamOptions;
  /** Of these there may be news. */
  readonly #due = new Set<Watch>();
  #reading = false;
  #text = "";

  constructor(options: OutcomeStreamOptions) {
    this.#options = options;
  }

  get watcher(): string {
    return this.#options.watcher;
  }

  get owner(): string {
    return this.#options.owner;
  }

  get client(): string {
    return this.#options.client;
  }

  get frames(): FrameStream {
    return this.#options.frames;
  }

  /** A commit here has ended it. Said with the next `flush`. */
  ended(watch: Watch, seq: number, outcome: Outcome): void {
    if (watch.seq === READING) watch.seq = STIRRED;
    // What was known when it was asked for is no news; and who lags behind is told as it reads.
    if (watch.seq < 0 || seq <= watch.seq) return;
    if (!this.frames.caughtUp || this.#text.length > TOLD_AT_ONCE) this.due(watch);
    else this.#say(watch, { id: watch.intentId, seq, ...outcome, large: false });
  }

  /** Writes what has ended, at once. */
  flush(): void {
    const text = this.#text;
    this.#text = "";
    if (text !== "") this.frames.sendEncoded(text);
  }

  /** It may have ended: to be read. */
  due(watch: Watch): void {
    if (watch.seq === READING) watch.seq = STIRRED;
    if (watch.seq === STIRRED) return;
    this.#due.add(watch);
    this.#readSoon();
  }

  forget(watch: Watch): void {
    this.watches.delete(watch);
    this.#due.delete(watch);
  }

  #say(watch: Watch, ending: Ending): void {
    const { frameMaxBytes } = this.#options.engine.settings;
    const whole = ending.large ? null : encodeFrame(frameOf(outcomeView(ending, watch.mark)));
    if (whole === null || Buffer.byteLength(whole) > frameMaxBytes) this.#sayFetch(watch);
    else this.#sayOf(watch, whole);
  }

  /** Too large for a frame, or not there any more: whoever asks for it is told. */
  #sayFetch(watch: Watch): void {
    const { intentId, mark } = watch;
    this.#sayOf(watch, encodeFrame(frameOf({ intent_id: intentId, mark, fetch: true })));
  }

  #sayOf(watch: Watch, text: string): void {
    this.#text += text;
    this.#options.onToldOf(watch);
  }

  /** What comes due in this turn is read together. */
  #readSoon(delayMs?: number): void {
    if (this.#reading) return;
    this.#reading = true;
    const read = () => void this.#readAll();
    if (delayMs === undefined) setImmediate(read);
    else setTimeout(read, delayMs).unref();
  }

  async #readAll(): Promise<void> {
    let failed = false;
    try {
      while (this.#due.size > 0 && this.frames.open) {
        await this.frames.ready();
        await this.#readSome();
      }
    } catch (error) {
      failed = true;
      this.#options.onError(error);
    }
    this.#reading = false;
    if (this.#due.size > 0 && this.frames.open) this.#readSoon(failed ? RETRY_MS : undefined);
  }

  async #readSome(): Promise<void> {
    const { engine } = this.#options;
    const { frameMaxBytes } = engine.settings;
    const some = takeSome(this.#due, Math.max(1, Math.min(READ_AT_ONCE, READ_AT_ONCE_BYTES / frameMaxBytes)));
    for (const watch of some) watch.seq = READING;
    try {
      const ids = some.map((watch) => watch.intentId);
      const endings = await findEndings(engine.store, ids, frameMaxBytes);
      for (const watch of some) this.#learn(watch, endings.get(watch.intentId));
      this.flush();
    } catch (error) {
      for (const watch of some) if (this.watches.has(watch)) this.#due.add(watch);
      throw error;
    }
  }

  #learn(watch: Watch, found: Ending | { readonly seq: number; readonly status: null } | undefined): void {
    if (!this.watches.has(watch)) return;
    if (found === undefined) this.#sayFetch(watch);
    else if (found.status !== null) this.#say(watch, found);
    else this.known(watch, found.seq);
  }

  /** It has not ended, as far as was read. */
  known(watch: Watch, seq: number): void {
    const stirred = watch.seq === STIRRED;
    watch.seq = seq;
    if (stirred) this.due(watch);
  }
}

const frameOf = (data: unknown) => ({ event: "intent.outcome", data });

function takeSome<T>(set: Set<T>, count: number): T[] {
  const some: T[] = [];
  for (const one of set) {
    if (some.length >= count) break;
    some.push(one);
    set.delete(one);
  }
  return some;
}

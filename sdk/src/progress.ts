// Owns: what a handler tells on its way, how far it is and what it has put out, sent in the background. Must not: hold up the work.
import { onAbort, pause } from "./abort.ts";
import { compact } from "./absent.ts";
import type { AgentWrites } from "./agent-writes.ts";
import type { Attempt } from "./attempt.ts";
import type { IntentEvent, Wire } from "./intents.ts";

export interface ProgressUpdate {
  message?: string;
  percent?: number;
  data?: unknown;
}

/** What an intent's handler has told. */
export interface Progress extends ProgressUpdate {
  /** A piece of what it has put out with `ctx.write`. */
  output?: string;
  /** How many characters this attempt has put out before this piece. Less than before: another attempt began anew. More: a piece is missing. */
  outputOffset?: number;
  attempt?: number;
}

/** What an event tells; undefined when it is about something else. */
export function progressOf({ type, attempt, details }: IntentEvent): Progress | undefined {
  if (type !== "intent.progress") return undefined;
  const { message, percent, data, output, output_offset: outputOffset } = details ?? {};
  return compact({ message, percent, data, output, outputOffset, attempt });
}

/** Characters of one event: one frame of a stream, in most languages. */
const PIECE = 16_384;
/** Of what waits to be sent; beyond it the oldest goes. */
const WAITING_MAX = 1_048_576;
/** Between two pieces of output: each is a commit, and nobody reads faster. */
const SPACING_MS = 100;

/** One request at a time. Of updates only the newest waits; output is kept together, in order. */
export class ProgressReporter {
  readonly #attempt: Attempt;
  readonly #writes: AgentWrites;
  #update: ProgressUpdate | undefined;
  #output = "";
  /** Of a character that came in two pieces, the first. */
  #half = "";
  #offset = 0;
  #sending: Promise<void> | undefined;
  #ended = false;
  /** Made when something waits for it: most handlers tell nothing. */
  #ending: AbortController | undefined;

  constructor(attempt: Attempt, writes: AgentWrites) {
    this.#attempt = attempt;
    this.#writes = writes;
  }

  report(update: ProgressUpdate): void {
    this.#update = { ...update };
    this.#wake();
  }

  write(text: string): void {
    const all = this.#half + String(text);
    const whole = wholeLength(all, all.length);
    this.#half = all.slice(whole);
    this.#put(all.slice(0, whole));
  }

  /** Settles when all of it was sent, or given up on. */
  async flush(): Promise<void> {
    this.#ended = true;
    this.#ending?.abort();
    this.#put(this.#half);
    this.#half = "";
    await this.#sending;
  }

  #put(text: string): void {
    if (text === "") return;
    this.#output += storable(text);
    this.#skip(this.#output.length - WAITING_MAX);
    this.#wake();
  }

  #wake(): void {
    if (this.#attempt.over) return;
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  async #sendAll(): Promise<void> {
    while ((this.#update !== undefined || this.#output !== "") && !this.#attempt.over) {
      const output = this.#take();
      const body = compact({ ...this.#update, ...output });
      this.#update = undefined;
      // A lost update is replaced by the next one; a stale attempt will be found out by a write that matters.
      await this.#writes.progress(body, this.#attempt.signal).catch(() => undefined);
      if (output === undefined) continue;
      await pause(SPACING_MS, this.#untilEnd(), this.#attempt.timers).catch(() => undefined);
    }
  }

  #untilEnd(): AbortSignal {
    if (this.#ending === undefined) {
      const ending = new AbortController();
      this.#ending = ending;
      onAbort(this.#attempt.signal, () => ending.abort());
      if (this.#ended) ending.abort();
    }
    return this.#ending.signal;
  }

  #take(): Wire | undefined {
    if (this.#output === "") return undefined;
    const output = this.#output.slice(0, wholeLength(this.#output, PIECE));
    const output_offset = this.#offset;
    this.#skip(output.length);
    return { output, output_offset };
  }

  #skip(length: number): void {
    if (length <= 0) return;
    this.#output = this.#output.slice(length);
    this.#offset += length;
  }
}

/** At most `most`, and not up to the middle of a surrogate pair. */
function wholeLength(text: string, most: number): number {
  const length = Math.min(text.length, most);
  const last = text.charCodeAt(length - 1);
  return last >= 0xd800 && last <= 0xdbff ? length - 1 : length;
}

// NUL and lone halves of surrogate pairs cannot be stored.
const UNSTORABLE = /\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const storable = (text: string): string => text.replace(UNSTORABLE, "\ufffd");

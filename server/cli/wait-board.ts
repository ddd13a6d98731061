// Owns what is seen at a terminal while intents are waited for: how far each is, and how many have ended. Must not wait for them.
import { setTimeout as delay } from "node:timers/promises";
import { intentPath, type Json } from "./api.ts";
import type { Cli } from "./context.ts";
import { type LiveArea, progressBar } from "./live.ts";

const LOOK_EVERY_MS = 500;
/** Intents shown, and asked for, at once. */
const SHOWN = 10;

export class WaitBoard {
  readonly #cli: Cli;
  readonly #area: LiveArea;
  readonly #total: number;
  readonly #open: Set<string>;
  readonly #lines = new Map<string, string>();
  readonly #stopped = new AbortController();

  /** Undefined where nobody watches. */
  static open(cli: Cli, ids: readonly string[]): WaitBoard | undefined {
    const area = cli.liveArea();
    return area === undefined ? undefined : new WaitBoard(cli, area, ids);
  }

  private constructor(cli: Cli, area: LiveArea, ids: readonly string[]) {
    this.#cli = cli;
    this.#area = area;
    this.#open = new Set(ids);
    this.#total = this.#open.size;
    void this.#watch();
  }

  /** Prints what has become of one; the others go on below. */
  ended(id: string, print: () => void): void {
    this.#open.delete(id);
    this.#area.above(print);
    if (!this.#stopped.signal.aborted) this.#draw();
  }

  stop(): void {
    this.#stopped.abort();
    this.#area.clear();
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await Promise.all([...this.#open].slice(0, SHOWN).map((id) => this.#look(id)));
      if (signal.aborted) return;
      this.#draw();
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** A server that is away is waited for elsewhere: here stands what was known last. */
  async #look(id: string): Promise<void> {
    const answer = await this.#cli.api.get(intentPath(id)).catch(() => undefined);
    if (answer !== undefined) this.#lines.set(id, describe(answer.intent));
  }

  #draw(): void {
    const lines = [...this.#open].slice(0, SHOWN).flatMap((id) => this.#lines.get(id) ?? []);
    const ended = this.#total - this.#open.size;
    const summary = `ended ${progressBar(ended, this.#total)} ${ended} of ${this.#total}`;
    const shown = this.#total > 1 ? [...lines, summary] : lines;
    if (shown.length > 0) this.#area.draw(shown);
  }
}

/** `4f1c2ab9  IN_PROGRESS  [######------] 2/4 load`. */
function describe(intent: Json): string {
  const { done = 0, total, current } = intent.progress ?? {};
  const parts = [intent.intent_id.slice(-12), intent.paused ? `${intent.status} paused` : intent.status];
  if (total) parts.push(`${progressBar(done, total)} ${done}/${total}`);
  else if (done > 0) parts.push(`${done} steps done`);
  if (current) parts.push(current);
  if (intent.lifecycle_waiting_reason) parts.push(`for ${intent.lifecycle_waiting_reason}`);
  return parts.join("  ");
}

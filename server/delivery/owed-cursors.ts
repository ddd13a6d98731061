// What the windows that ended here owe: written down before their answers end, kept in memory while the database is away, so
// that an outage makes nobody look like an agent that has just started (X1, I12).

import type { Engine } from "../engine/context.ts";
import { type Account, type Arrival, arrive, oweCursors } from "../store/windows.ts";

/** An answer that has to end waits no longer for the database. */
const PATIENCE_MS = 500;
const REMEMBERED = 10_000;

/** What a window's end owes. */
export interface Owing extends Account {
  readonly seq: number;
  /** When it came as a newcomer, while it may still take over. */
  readonly arrivedAt: number | null;
  /** When it came, on this process's own clock, while nobody could be asked whether it was expected; else null. */
  readonly unknownSince: number | null;
}

interface Remembered {
  readonly owing: Owing;
  /** On this process's own clock. */
  readonly at: number;
}

export class OwedCursors {
  readonly #engine: Engine;
  #unwritten: Remembered[] = [];
  #writing: Promise<void> | null = null;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Resolves once it is written down, or soon: then it is remembered. Never rejects. */
  async owe(owing: Owing): Promise<void> {
    this.#unwritten.push({ owing, at: performance.now() });
    if (this.#unwritten.length > REMEMBERED) this.#unwritten.shift();
    let late: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      late = setTimeout(resolve, PATIENCE_MS);
    });
    await Promise.race([this.#write().catch(() => undefined), limit]);
    clearTimeout(late);
  }

  /** Whether this request was expected. Asks only behind what is still to be written; rejects while the database is away. */
  async arrive(account: Account, since: number, cameAt: number): Promise<Arrival> {
    await this.#write();
    return arrive(this.#engine.store, account, since, performance.now() - cameAt);
  }

  /** All of it, also what is just being written: a failure there is a failure here. */
  async #write(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
    if (this.#unwritten.length === 0) return;
    this.#writing = this.#writeAll().finally(() => {
      this.#writing = null;
    });
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    const all = this.#unwritten;
    this.#unwritten = [];
    const now = performance.now();
    try {
      await oweCursors(
        this.#engine.store,
        all.map(({ owing, at }) => ({
          ...owing,
          ageMs: now - at,
          lastsMs: this.#engine.settings.windowedReturnMs,
          cameMs: owing.unknownSince === null ? null : now - owing.unknownSince,
        })),
      );
    } catch (error) {
      this.#unwritten = [...all, ...this.#unwritten].slice(-REMEMBERED);
      throw error;
    }
  }
}

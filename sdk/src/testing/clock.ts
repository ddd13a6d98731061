// Owns: time that passes only when nothing else can happen. Must not: know who waits.
import type { Timers } from "../timers.ts";

interface Due {
  readonly at: number;
  readonly callback: () => void;
}

export class VirtualClock {
  /** Epoch milliseconds. */
  now = Date.now();
  readonly #dues = new Set<Due>();

  after(ms: number, callback: () => void): () => void {
    const due = { at: this.now + ms, callback };
    this.#dues.add(due);
    return () => this.#dues.delete(due);
  }

  /** When the next one is called back; undefined when nobody waits. */
  get nextAt(): number | undefined {
    let next: number | undefined;
    for (const { at } of this.#dues) if (next === undefined || at < next) next = at;
    return next;
  }

  /** Goes to that moment, and calls back who waits for it. */
  goTo(at: number): void {
    this.now = Math.max(this.now, at);
    for (const due of [...this.#dues].sort((a, b) => a.at - b.at)) {
      if (due.at > this.now || !this.#dues.delete(due)) continue;
      due.callback();
    }
  }
}

/** A turn of the event loop: everything that can go on by itself has gone on before it is over. */
const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => unknown };
const soon = setImmediate ?? ((callback: () => void): unknown => setTimeout(callback, 0));
export const turn = (): Promise<void> => new Promise((resolve) => void soon(resolve));

/**
 * The timers of one process: they end with it. What is waited for its own sake takes as long as `after` says. A limit ends nothing by
 * itself, as work takes no virtual time: it is up once the work is found to hang.
 */
export class ProcessTimers implements Timers {
  readonly #after: VirtualClock["after"];
  readonly #undo = new Set<() => void>();
  readonly #limits = new Set<{ readonly ms: number; readonly callback: () => void }>();
  #over = false;
  #soon = 0;

  constructor(after: VirtualClock["after"]) {
    this.#after = after;
  }

  /** Something goes on in a moment. */
  get soon(): boolean {
    return this.#soon > 0 && !this.#over;
  }

  delay(ms: number, callback: () => void): () => void {
    if (this.#over) return () => undefined;
    if (ms <= 0) return this.#nextTurn(callback);
    const undo = this.#after(ms, () => {
      this.#undo.delete(undo);
      callback();
    });
    this.#undo.add(undo);
    return () => {
      this.#undo.delete(undo);
      undo();
    };
  }

  limit(ms: number, callback: () => void): () => void {
    const limit = { ms, callback };
    if (!this.#over) this.#limits.add(limit);
    return () => this.#limits.delete(limit);
  }

  /** The shortest limit is up. False when there is none. */
  expire(): boolean {
    const [first] = [...this.#limits].sort((a, b) => a.ms - b.ms);
    if (first === undefined) return false;
    this.#limits.delete(first);
    first.callback();
    return true;
  }

  end(): void {
    this.#over = true;
    for (const undo of this.#undo) undo();
    this.#limits.clear();
  }

  /** No delay at all is a turn of the event loop, which the rest of the process takes as well. */
  #nextTurn(callback: () => void): () => void {
    let undone = false;
    this.#soon += 1;
    soon(() => {
      this.#soon -= 1;
      if (!undone && !this.#over) callback();
    });
    return () => {
      undone = true;
    };
  }
}

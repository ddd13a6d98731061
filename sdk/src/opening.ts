// Owns: that the server learns once that a handler works on a delivery. Must not: know what the work is.
// A step or an outcome that follows at once says so too, and saves the server a commit.
import { realTimers, type Timers } from "./timers.ts";

export class Opening {
  /** Rejects when the server refuses; otherwise never settles. */
  readonly refused: Promise<never>;
  readonly #say: () => Promise<void>;
  readonly #timers: Timers;
  #unsay: () => void = () => undefined;
  #said: Promise<void> | undefined;
  #refuse!: (error: unknown) => void;

  constructor(say: () => Promise<void>, timers: Timers = realTimers) {
    this.#say = say;
    this.#timers = timers;
    this.refused = new Promise((_, reject) => {
      this.#refuse = reject;
    });
    this.refused.catch(() => undefined);
  }

  /** Says it in a moment, unless something else has said it by then. */
  soon(): void {
    this.#unsay = this.#timers.delay(0, () => {
      this.#said = this.#say();
      this.#said.catch(this.#refuse);
    });
  }

  /** For a write that says it as well: it may go once this resolves, and so never overtakes ours. Rejects as `refused` does. */
  async implied(): Promise<void> {
    this.#unsay();
    await this.#said;
  }
}

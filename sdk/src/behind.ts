// Owns: writes that follow behind the work, one after the other, and what becomes of a refused one. Must not: know what they say.

export class Behind {
  #last: Promise<unknown> = Promise.resolve();
  readonly #waiting = new Set<Promise<unknown>>();
  #failure: { readonly error: unknown } | undefined;
  readonly #isHarmless: (error: unknown) => boolean;

  /** A harmless failure stops nothing that comes after it. */
  constructor(isHarmless: (error: unknown) => boolean) {
    this.#isHarmless = isHarmless;
  }

  /** Sends once everything before it is answered. After a failure nothing more is sent, and all who ask are told of it. */
  send<T>(send: () => Promise<T>): Promise<T> {
    const sent = this.#last.then(() => {
      this.check();
      return send();
    });
    this.#last = sent.then(
      () => undefined,
      (error: unknown) => {
        if (!this.#isHarmless(error)) this.#failure ??= { error };
      },
    );
    return sent;
  }

  /** Counts among those waited for until it settles. */
  add(recorded: Promise<unknown>): void {
    const settled = recorded.then(
      () => undefined,
      () => undefined,
    );
    this.#waiting.add(settled);
    void settled.then(() => this.#waiting.delete(settled));
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Resolves when at most `count` are on their way. Throws what one of them failed with. */
  async atMost(count: number): Promise<void> {
    while (this.#waiting.size > count) await Promise.race(this.#waiting);
    this.check();
  }

  /** Settles when none is on its way any more. Never rejects. */
  async idle(): Promise<void> {
    while (this.#waiting.size > 0) await Promise.all(this.#waiting);
  }

  /** Throws what a write failed with. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

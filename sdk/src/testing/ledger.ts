// Owns: what has happened in the outside world of a simulation, and how often. Must not: know who did it.

/** One thing that happened outside. */
export interface Effect<T = any> {
  readonly name: string;
  readonly key?: string;
  readonly result: T;
}

export interface EffectOptions<T> {
  /**
   * For an outside world that knows idempotency keys: asked again with the same key it does nothing and answers as the first time. Pass
   * `step.idempotencyKey`. Without a key it does whatever it is asked, as often as it is asked.
   */
  key?: string;
  /** For one that knows no keys, but keeps what was written on it: `find` finds it. */
  reference?: string;
  /** What it answers. */
  result?: T | (() => T);
}

/** The outside world: banks, mail servers, other people's APIs. What a handler does to it goes through here. */
export interface Ledger {
  /** Something happens outside; answers `result`. The agent may die just before and just after it. */
  effect<T = undefined>(name: string, options?: EffectOptions<T>): Promise<T>;
  /** What happened under this key or reference, as an outside world can be asked; undefined when nothing did. */
  find<T = any>(keyOrReference: string): Effect<T> | undefined;
  /** How often it happened. */
  times(name: string): number;
}

export class Book {
  readonly effects: Effect[] = [];

  /** Answers the result, and whether it happened now or had happened before. */
  enter<T>(name: string, options: EffectOptions<T> = {}): { result: T; again: boolean } {
    const { key, reference, result } = options;
    const known = this.effects.find(
      (effect) => key !== undefined && effect.key === key && effect.name === name,
    );
    if (known !== undefined) return { result: known.result, again: true };
    const made = typeof result === "function" ? (result as () => T)() : (result as T);
    const written = key ?? reference;
    this.effects.push({ name, result: made, ...(written === undefined ? {} : { key: written }) });
    return { result: made, again: false };
  }

  find(key: string): Effect | undefined {
    return this.effects.find((effect) => effect.key === key);
  }

  times(name: string): number {
    return this.effects.filter((effect) => effect.name === name).length;
  }

  /** How often each happened, in the order of their first time. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { name } of this.effects) counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts;
  }
}

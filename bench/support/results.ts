// Owns what was measured, and how rounds become one figure: medians, and ratios round by round.

import type { Figures } from "./workload.ts";

/** The value below which `q` of the samples lie. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
}

/** The middle one; of an even number the mean of the two in the middle. */
export function median(samples: readonly number[]): number | undefined {
  const sorted = [...samples].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.ceil(sorted.length / 2) - 1];
  return upper === undefined || lower === undefined ? undefined : (lower + upper) / 2;
}

/** The rounds of one workload; `undefined` where a side failed in a round. */
export class Results {
  readonly #rounds = new Map<string, (Figures | undefined)[]>();

  add(side: string, figures: Figures | undefined): void {
    const rounds = this.#rounds.get(side);
    if (rounds === undefined) this.#rounds.set(side, [figures]);
    else rounds.push(figures);
  }

  /** The sides that were measured at all, in the order of the first round. */
  get sides(): readonly string[] {
    return [...this.#rounds].filter(([, rounds]) => rounds.some(Boolean)).map(([side]) => side);
  }

  rounds(side: string): readonly (Figures | undefined)[] {
    return this.#rounds.get(side) ?? [];
  }

  /** The median over the rounds; undefined when the side was not measured or has no such figure. */
  median(side: string, figure: string): number | undefined {
    return median(this.rounds(side).flatMap((round) => round?.[figure] ?? []));
  }

  /** All figures of a side, as medians. */
  medians(side: string): Figures {
    const names = new Set(this.rounds(side).flatMap((round) => Object.keys(round ?? {})));
    return Object.fromEntries([...names].map((name) => [name, this.median(side, name) ?? Number.NaN]));
  }

  toJSON() {
    return this.sides.map((side) => ({ side, medians: this.medians(side), rounds: this.rounds(side) }));
  }

  /** The median of `side ÷ other` of each round, so that a slow moment of the machine, which falls on both, falls out. */
  ratio(side: string | undefined, other: string | undefined, figure: string): number | undefined {
    if (side === undefined || other === undefined) return undefined;
    const others = this.rounds(other);
    const ratios = this.rounds(side).flatMap((round, n) => {
      const [above, below] = [round?.[figure], others[n]?.[figure]];
      return above === undefined || below === undefined || below === 0 ? [] : [above / below];
    });
    return median(ratios);
  }

  /** The side with the highest median among those that `among` accepts. */
  best(figure: string, among: (side: string) => boolean): string | undefined {
    const measured = this.sides.filter((side) => among(side) && this.median(side, figure) !== undefined);
    return measured.sort((a, b) => (this.median(b, figure) ?? 0) - (this.median(a, figure) ?? 0))[0];
  }
}

// What comes of a case, and how large it is made.

export interface Outcome {
  readonly figures: Readonly<Record<string, number | string>>;
  /** What should not have been. */
  readonly broken: readonly string[];
}

export interface Scale {
  readonly connections: number;
  readonly agents: number;
  readonly burst: number;
  readonly backlog: number;
}

type Bounds = readonly (readonly [string, boolean])[];

export const judged = (figures: Outcome["figures"], bounds: Bounds): Outcome => ({
  figures,
  broken: bounds.flatMap(([what, holds]) => (holds ? [] : [what])),
});

/** Beside a crowd a client that behaves may wait, on two busy cores, but not for long. */
export const HEALTHY_MS = 2_000;

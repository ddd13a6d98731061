// Owns the order of measuring: the sides in turn, round by round, and what happens to one that fails.

import { setTimeout as sleep } from "node:timers/promises";
import { Results } from "./results.ts";
import type { Figures, Side } from "./workload.ts";

export interface Limits {
  readonly rounds: number;
  /** Longest that one side may take in one round. */
  readonly sideMs: number;
  /** A further round begins only if it would end by then, as the last one went. */
  readonly until: number;
  /** After that no side is measured any more. */
  readonly deadline: number;
}

type Note = (text: string) => void;

export async function runRounds(sides: readonly Side[], limits: Limits, note: Note): Promise<Results> {
  const { rounds, sideMs, until, deadline } = limits;
  const results = new Results();
  for (let round = 0; round < rounds; round += 1) {
    const began = Date.now();
    for (const side of sides) {
      const isDue = round < (side.rounds ?? rounds);
      const left = deadline - Date.now();
      if (isDue && left <= 0) note(`no time was left for ${side.name}`);
      const figures = isDue && left > 0 ? await measureOnce(side, Math.min(sideMs, left), note) : undefined;
      results.add(side.name, figures);
    }
    if (round + 1 < rounds && Date.now() + (Date.now() - began) > until) {
      note(`only ${round + 1} of ${rounds} rounds: the machine was too slow for more`);
      break;
    }
  }
  return results;
}

/** A side that fails, or does not come to an end, is missing in this round, and the others go on. */
async function measureOnce(side: Side, sideMs: number, note: Note): Promise<Figures | undefined> {
  const patience = new AbortController();
  const late = sleep(sideMs, undefined, { signal: patience.signal }).then(() => {
    throw new Error(`it did not end within ${Math.round(sideMs / 1_000)} s`);
  });
  try {
    return await Promise.race([side.measure(), late]);
  } catch (error) {
    note(`${side.name} failed: ${String(error instanceof Error ? error.message : error).split("\n")[0]}`);
    return undefined;
  } finally {
    patience.abort();
    await late.catch(() => undefined);
  }
}

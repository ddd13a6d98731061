// Owns: what happened in a simulation, told in lines. Must not: judge it.
import type { Delivery } from "../deliveries.ts";
import type { IntentEvent, Outcome } from "../intents.ts";
import type { Effect } from "./ledger.ts";

/** One simulation from beginning to end. As a string it is the story line by line. */
export interface Story<R = any> {
  /** How the intent ended. */
  readonly outcome: Outcome<R>;
  /** What happened outside, in its order. */
  readonly effects: readonly Effect[];
  /** How often it happened. */
  times(effect: string): number;
  /** The log of the intent. */
  readonly events: readonly IntentEvent[];
  /** The points that the agent came to, at which a fault may be put. */
  readonly points: readonly string[];
  /** Those after the last fault, counted from there; of several that are one request, the first. */
  readonly pointsAfterFaults: readonly { readonly point: string; readonly nth: number }[];
  toString(): string;
}

export class Tale {
  readonly #lines: { who: string; what: string }[] = [];

  add(who: string, what: string): void {
    this.#lines.push({ who, what });
  }

  toString(): string {
    const width = Math.max(0, ...this.#lines.map(({ who }) => who.length));
    return this.#lines.map(({ who, what }) => `  ${who.padEnd(width)}  ${what}`).join("\n");
  }
}

/** `is given order.v1, attempt 2 (done: reserve; in doubt: charge)`. */
export function describeDelivery({ intent, attempt, steps }: Delivery): string {
  const named = (what: string, keys: string[]) => (keys.length === 0 ? [] : [`${what}: ${keys.join(", ")}`]);
  const known = [
    ...named(
      "done",
      steps.filter(({ status }) => status === "done").map(({ key }) => key),
    ),
    ...named(
      "in doubt",
      steps.filter(({ interrupted }) => interrupted).map(({ key }) => key),
    ),
  ];
  const about = known.length === 0 ? "" : ` (${known.join("; ")})`;
  return `is given ${intent.intent_type}, attempt ${attempt}${about}`;
}

/** `COMPLETED {"paid":12}` or `FAILED step_interrupted: …`. */
export function describeOutcome(outcome: Outcome): string {
  if (outcome.status === "COMPLETED") return `COMPLETED ${JSON.stringify(outcome.result)}`;
  return `${outcome.status} ${outcome.error.code}: ${outcome.error.message}`;
}

/** A simulation, or what it came to, is not as it should be. The message tells the story. */
export class SimulationFailure extends Error {
  readonly story: string;

  constructor(why: string, story: string) {
    super(`${why}\n\n${story}\n`);
    this.name = "SimulationFailure";
    this.story = story;
  }
}

// Owns: every single thing that can go wrong, one after the other, and whether the world can tell. Must not: simulate.
import type { Outcome } from "../intents.ts";
import { type Fault, type FaultKind, faultsAt } from "./faults.ts";
import { type Simulation, simulate } from "./simulate.ts";
import { describeOutcome, SimulationFailure, type Story } from "./story.ts";

export interface Exploration<P = any> extends Omit<Simulation<P>, "faults"> {
  /** What is to go wrong. Default: everything. */
  faults?: readonly FaultKind[];
  /** 2: after each of these a crash as well, at each point that comes after it. That is many runs. Default 1. */
  depth?: 1 | 2;
  /**
   * Whether a run that ends otherwise than the one in which nothing went wrong is fine all the same. Effects must not have happened more
   * often even then. Default: it must end alike, with the same result.
   */
  accept?: (story: Story) => boolean;
  /** Looks at each story as well; throws when it does not like it. */
  check?: (story: Story) => void | Promise<void>;
}

export interface Explored {
  /** What went wrong, a run for each. */
  readonly runs: readonly Fault[][];
  /** The run in which nothing did. */
  readonly story: Story;
}

const ALL: readonly FaultKind[] = ["crash", "lose lease", "overlap", "lose reply", "stop", "deliver twice"];
const STORIES_TOLD = 1;
const NAMED = 12;

/**
 * Runs the agent once as it should be, then once for each thing that can go wrong at each point it came to. Every run must have the same
 * effects, each as often, and the same outcome. Throws when one does not: the message names the faults and tells the story of the first.
 */
export async function explore<P = any>(exploration: Exploration<P>): Promise<Explored> {
  const { faults: kinds = ALL, depth = 1, accept, check, ...simulation } = exploration;
  const expected = await simulate(simulation);
  await check?.(expected);
  const runs: Fault[][] = [];
  const wrong: Wrong[] = [];
  const attempt = async (faults: Fault[]): Promise<Story | undefined> => {
    runs.push(faults);
    try {
      const story = await simulate({ ...simulation, faults });
      const why = compare(expected, story, accept?.(story) === true);
      if (why !== undefined) throw new SimulationFailure(why, String(story));
      await check?.(story);
      return story;
    } catch (error) {
      wrong.push({ faults, error: error as Error });
      return undefined;
    }
  };
  for (const fault of faultsAt(expected.pointsAfterFaults, kinds)) {
    const story = await attempt([fault]);
    if (depth < 2 || story === undefined) continue;
    for (const second of faultsAt(story.pointsAfterFaults, ["crash"])) await attempt([fault, second]);
  }
  if (wrong.length > 0) throw new ExplorationFailure(wrong, runs.length);
  return { runs, story: expected };
}

/** What the world can tell from the run in which nothing went wrong; undefined when it cannot. */
function compare(expected: Story, story: Story, accepted: boolean): string | undefined {
  const effects = compareEffects(expected, story, accepted);
  if (effects !== undefined) return effects;
  if (accepted || endsAlike(expected.outcome, story.outcome)) return undefined;
  return `it ends otherwise: ${describeOutcome(story.outcome)}\n  without a fault: ${describeOutcome(expected.outcome)}`;
}

function compareEffects(expected: Story, story: Story, accepted: boolean): string | undefined {
  const names = new Set([...expected.effects, ...story.effects].map(({ name }) => name));
  for (const name of names) {
    const times = story.times(name);
    const should = expected.times(name);
    if (times > should)
      return `${JSON.stringify(name)} happened ${often(times)}, and ${often(should)} without a fault. Pass step.idempotencyKey to whoever does it, or find out with onInterrupt`;
    if (times < should && !accepted)
      return `${JSON.stringify(name)} happened ${often(times)}, and ${often(should)} without a fault. Do it inside a step, and decide about it only by what steps, state and payload say`;
  }
  return undefined;
}

const often = (times: number): string => (times === 0 ? "never" : times === 1 ? "once" : `${times} times`);

function endsAlike(one: Outcome, other: Outcome): boolean {
  if (one.status === "COMPLETED")
    return other.status === "COMPLETED" && canonical(one.result) === canonical(other.result);
  return (
    one.status === other.status && one.error.code === (other as { error?: { code?: string } }).error?.code
  );
}

/** Equal for equal JSON, in whatever order its members are. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );

interface Wrong {
  readonly faults: readonly Fault[];
  readonly error: Error;
}

/** The world can tell that something went wrong. `faults` are to be given to `simulate` to see each of it again. */
export class ExplorationFailure extends Error {
  readonly faults: readonly (readonly Fault[])[];

  constructor(wrong: readonly Wrong[], runs: number) {
    const stories = wrong
      .slice(0, STORIES_TOLD)
      .map(({ faults, error }) => `${faults.join(", then ")}:\n${error.message}`);
    const named = wrong.slice(0, NAMED).map(({ faults }) => `  faults: ${JSON.stringify(faults)}`);
    const more = wrong.length > NAMED ? [`  and ${wrong.length - NAMED} more`] : [];
    const head = `${wrong.length} of ${runs} runs in which something went wrong can be told from outside`;
    super(
      [
        `${head}. The first, ${stories[0]}`,
        "To see one again: simulate({ …, faults }) with",
        ...named,
        ...more,
      ].join("\n"),
    );
    this.name = "ExplorationFailure";
    this.faults = wrong.map(({ faults }) => faults);
    this.cause = wrong[0]?.error;
  }
}

// Has the histories and the database judged, and keeps what the judge found fault with.

import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Violation } from "../../../server/verify/log-rules.ts";
import { verifyDatabase } from "../../../server/verify/verify.ts";
import type { Final, FinalVersion } from "../../judge/finals.ts";
import { type Json, type Line, readHistory } from "../../judge/history.ts";
import { judge, judgeDrained } from "../../judge/judge.ts";
import { readFinals } from "./finals.ts";
import type { Replication } from "./plan.ts";
import type { Played } from "./play.ts";
import { type Redeliveries, redeliveries } from "./redeliveries.ts";
import { judgeFlatness, type Sample } from "./samples.ts";
import type { World } from "./world.ts";

/** What was run, beside the faults. */
export interface Run {
  readonly seed: number;
  readonly replicas: number;
  readonly minutes: number;
  readonly busyLanes: number;
  readonly replication: Replication | undefined;
  readonly samples: readonly Sample[];
}

export interface Report extends Run {
  readonly faults: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly operations: number;
  readonly intents: number;
  readonly lost: number;
  readonly violations: readonly Violation[];
  /** Where the logs of the intents it is about are; null when there is nothing to look into. */
  readonly evidence: string | null;
  readonly redeliveryMs: Redeliveries;
  /** What grew that should not. */
  readonly grown: readonly string[];
}

export async function report(
  world: World,
  { faults, deaths }: Played,
  run: Run,
  strays: readonly Violation[],
): Promise<Report> {
  const finals = await readFinals(world);
  const history = world.historyFiles.flatMap(readHistory);
  const state = await world.query<FinalVersion>("select scope, key, version, value, seq from state_versions");
  const judgement = judge(history, finals, state);
  const verified = await verifyDatabase(world.postgres.url);
  const byKind: Record<string, number> = {};
  for (const fault of faults) byKind[fault.kind] = (byKind[fault.kind] ?? 0) + 1;
  const all = [
    ...strays,
    ...judgement.violations,
    ...judgeDrained(finals),
    ...judgeFailures(finals),
    ...judgeCounters(state),
    ...verified.violations,
  ];
  // What was wrong before the last waits were ended is mostly still wrong.
  const violations = [...new Map(all.map((one) => [JSON.stringify(one), one])).values()];
  return {
    ...run,
    faults: faults.length,
    byKind,
    operations: judgement.operations,
    intents: finals.length,
    lost: judgement.lost,
    violations,
    evidence:
      violations.length === 0 ? null : await keepEvidence(run.seed, violations, finals, history, state),
    redeliveryMs: redeliveries(history, finals, deaths),
    grown: judgeFlatness(run.samples),
  };
}

/** What the judge saw of the intents it found fault with: a file for each, to read once the world is gone. */
async function keepEvidence(
  seed: number,
  violations: readonly Violation[],
  finals: readonly Final[],
  history: readonly Line[],
  state: readonly FinalVersion[],
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `perdure-violations-${seed}-`));
  await writeFile(join(directory, "violations.json"), JSON.stringify(violations, null, 1));
  for (const id of new Set(violations.flatMap((one) => one.intentId ?? []))) {
    const final = finals.find((one) => one.id === id);
    const lines = [
      ...violations.filter((one) => one.intentId === id),
      ...(final === undefined ? [] : [{ ...final, events: undefined }, ...final.events]),
      ...state.filter((one) => one.scope === `intent:${id}`),
      ...history.filter((line) => JSON.stringify(line).includes(id)),
    ];
    await writeFile(
      join(directory, `${id}.jsonl`),
      lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
    );
  }
  return directory;
}

/** Nothing that is asked of an agent here can fail but by being lost too often, or by an operator's word. */
function judgeFailures(finals: readonly Final[]): Violation[] {
  return finals.flatMap(({ id, events }) =>
    events.flatMap(({ type, details }): Violation[] => {
      const code = details?.error?.code;
      if (type !== "failed" || code === "delivery_attempts_exhausted") return [];
      return [{ invariant: "I12", intentId: id, message: `it failed: ${JSON.stringify(details?.error)}` }];
    }),
  );
}

/** Who counts by compare-and-set counts one by one: nothing is written over, nothing twice (I9). */
function judgeCounters(state: readonly FinalVersion[]): Violation[] {
  const countOf = ({ key, value }: FinalVersion): unknown =>
    ["left", "right"].includes(key) ? (value as Json).n : value;
  return state
    .filter(
      (one) => ["counter", "intents", "left", "right"].includes(one.key) && countOf(one) !== one.version,
    )
    .map(({ scope, key, version, value }) => ({
      invariant: "I9",
      intentId: null,
      message: `${key} in ${scope} is ${JSON.stringify(value)} in version ${version}`,
    }));
}

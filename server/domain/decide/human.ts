// A person's answer to a task: the first one counts, the same again changes nothing, another is refused (W2).

import type { Draft } from "../draft.ts";
import { checkDecision } from "../human-task.ts";
import type { Step } from "../intent.ts";
import { RawJson } from "../raw-json.ts";
import { Refusal } from "../refusal.ts";
import { type HumanWait, waitingSteps } from "../wait.ts";
import { wake } from "./waits.ts";

export interface Decision {
  /** Null: the one task that waits. */
  readonly step: string | null;
  readonly outcome: string;
  readonly comment: string | null;
  readonly data: RawJson | null;
}

export interface Decided {
  readonly step: Step;
  readonly applied: boolean;
}

export function decideTask(draft: Draft, decision: Decision): Decided {
  const asked = waitingSteps(draft.intent, draft.steps).find(
    ({ key, wait }) => wait.kind === "human" && (decision.step === null || key === decision.step),
  );
  if (asked === undefined) return { step: decidedBefore(draft, decision), applied: false };
  answer(draft, asked.key, asked.wait as HumanWait, decision);
  return { step: draft.steps.get(asked.key) as Step, applied: true };
}

function answer(draft: Draft, key: string, wait: HumanWait, { outcome, comment, data }: Decision): void {
  checkDecision(wait.task, { outcome, comment, data: data?.parse() });
  const result = RawJson.of({
    outcome,
    ...(comment === null ? {} : { comment }),
    ...(data === null ? {} : { data }),
    decided_by: draft.actor.name,
    decided_at: new Date(draft.now).toISOString(),
  });
  wake(draft, key, { result });
}

/** A step in doubt asks another question: not whether it may happen, but whether it has. */
function refuseDoubt({ intent, steps }: Draft, key: string | null): void {
  const doubted = intent.openSteps.find(
    (open) => steps.get(open)?.status === "interrupted" && (key === null || open === key),
  );
  if (doubted === undefined) return;
  throw new Refusal(
    "no_human_task",
    `step ${JSON.stringify(doubted)} is in doubt: say whether it is done, runs again or fails, with POST …/steps/${doubted}/decide or perdure resolve-step`,
    { step: doubted },
  );
}

/** The task that was decided already, if this is the same decision. */
function decidedBefore(draft: Draft, { step: key, outcome, comment, data }: Decision): Step {
  const decided = [...draft.steps.values()].filter(
    (step) => step.wait?.kind === "human" && step.status === "done" && (key === null || step.key === key),
  );
  const last = decided.sort((a, b) => Number(b.seq) - Number(a.seq))[0];
  if (last?.result == null) {
    refuseDoubt(draft, key);
    const who = key === null ? "this intent" : `step ${JSON.stringify(key)}`;
    throw new Refusal("no_human_task", `${who} waits for no person`, { status: draft.intent.status });
  }
  const known = last.result.parse() as { outcome: string; comment?: string; data?: unknown };
  const same =
    known.outcome === outcome &&
    (known.comment ?? null) === comment &&
    JSON.stringify(known.data ?? null) === JSON.stringify(data?.parse() ?? null);
  if (same) return last;
  throw new Refusal("already_decided", `it was decided already: ${known.outcome}`, {
    step: last.key,
    outcome: known.outcome,
  });
}

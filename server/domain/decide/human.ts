// A person's answer to a task: the first one counts, the same again changes nothing, another is refused (W2).

import type { Draft } from "../draft.ts";
import { checkDecision } from "../human-task.ts";
import type { Step } from "../intent.ts";
import { RawJson } from "../raw-json.ts";
import { Refusal } from "../refusal.ts";
import { type WaitingStep, waitingSteps } from "../wait.ts";
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
  const waiting = waitingSteps(draft.intent, draft.steps).filter(({ wait }) => wait.kind === "human");
  const chosen = waiting.filter(({ key }) => decision.step === null || key === decision.step);
  if (chosen.length > 1) {
    const keys = chosen.map(({ key }) => key);
    throw new Refusal("validation_failed", `several tasks wait; name one with step: ${keys.join(", ")}`, {
      steps: keys,
    });
  }
  const [task] = chosen;
  if (task === undefined) return { step: decidedBefore(draft, decision), applied: false };
  answer(draft, task, decision);
  return { step: draft.steps.get(task.key) as Step, applied: true };
}

function answer(draft: Draft, step: WaitingStep, decision: Decision): void {
  if (step.wait.kind !== "human") return;
  const { outcome, comment, data } = decision;
  checkDecision(step.wait.task, { outcome, comment, data: data?.parse() });
  const result = RawJson.of({
    outcome,
    ...(comment === null ? {} : { comment }),
    ...(data === null ? {} : { data }),
    decided_by: draft.actor.name,
    decided_at: new Date(draft.now).toISOString(),
  });
  wake(draft, step.key, { result });
}

/** The task that was decided already, if this is the same decision. */
function decidedBefore(draft: Draft, decision: Decision): Step {
  const { step: key } = decision;
  const done = [...draft.steps.values()]
    .filter(
      (step) => step.wait?.kind === "human" && step.status === "done" && (key === null || step.key === key),
    )
    .sort((a, b) => (b.seq ?? 0) - (a.seq ?? 0));
  const [last] = done;
  if (last === undefined) {
    const message =
      key === null ? "nothing here waits for a person" : `step ${JSON.stringify(key)} waits for no person`;
    throw new Refusal("no_human_task", message, { status: draft.intent.status });
  }
  const known = last.result?.parse() as { outcome?: string; comment?: string; data?: unknown } | null;
  const same =
    known?.outcome === decision.outcome &&
    (known.comment ?? null) === decision.comment &&
    JSON.stringify(known.data ?? null) === JSON.stringify(decision.data?.parse() ?? null);
  if (same) return last;
  throw new Refusal("already_decided", `it was decided already: ${known?.outcome}`, {
    step: last.key,
    outcome: known?.outcome,
  });
}

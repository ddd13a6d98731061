// What an AXP client asks for that says "go on" and nothing else: whatever the intent waits for counts as there. It never
// ends an intent: an end needs somebody's own words.

import { type Draft, editStep } from "../draft.ts";
import type { Step } from "../intent.ts";
import { RawJson } from "../raw-json.ts";
import { type WaitingStep, waitingSteps } from "../wait.ts";
import { decideTask } from "./human.ts";
import { wake } from "./waits.ts";

/** Why nothing happened. */
type NotUnblocked =
  /** It waits for nothing. */
  | "nothing_waiting"
  /** A step is in doubt: only somebody who knows can say whether it happened. */
  | "step_in_doubt"
  /** Its children end the wait, each with its own end. */
  | "waits_for_intents"
  /** It is nothing but a person's task: the decision is its result. */
  | "task_result_required";

export interface Unblocked {
  readonly step: Step | null;
  /** Null when it goes on. */
  readonly why: NotUnblocked | null;
}

const APPROVED = "approved";
const NULL = new RawJson("null");

export function unblock(draft: Draft, key: string | null, reason: string | null): Unblocked {
  const waiting = waitingSteps(draft.intent, draft.steps).find((step) => key === null || step.key === key);
  const why = whyNot(draft, waiting);
  if (waiting === undefined || why !== null) return { step: null, why };
  const { wait } = waiting;
  // As the plan's last step it would complete the intent: its agent is asked for the rest instead.
  editStep(draft, waiting.key).wait = { ...wait, keepOpen: true };
  if (wait.kind === "human")
    decideTask(draft, { step: waiting.key, outcome: APPROVED, comment: reason, data: null });
  else wake(draft, waiting.key, { result: NULL });
  return { step: draft.steps.get(waiting.key) as Step, why: null };
}

function whyNot({ intent }: Draft, waiting: WaitingStep | undefined): NotUnblocked | null {
  if (waiting === undefined) return intent.status === "WAITING" ? "step_in_doubt" : "nothing_waiting";
  if (waiting.wait.kind === "intents") return "waits_for_intents";
  return waiting.wait.kind === "human" && waiting.wait.ends ? "task_result_required" : null;
}

// Leading an intent through its scenario: the server is its agent. Each step is a wait that somebody else finishes, a child
// intent or a person, and what was recorded of the steps says which comes next. No crash can lose its place.

import type { Draft } from "../draft.ts";
import type { Failure, Step } from "../intent.ts";
import { RawJson } from "../raw-json.ts";
import type { AgentStep, HumanStep, Scenario, ScenarioStep } from "../scenario.ts";
import { beginHumanWait, beginWait, type Wait, type WaitingStep } from "../wait.ts";
import { finish } from "./finish.ts";
import { stepToRecord } from "./steps.ts";
import { awaitStep } from "./waits.ts";

/** How people say no. */
const REJECTIONS: ReadonlySet<string> = new Set(["rejected", "denied", "declined", "failed", "canceled"]);

type Move =
  | { readonly kind: "begin"; readonly step: ScenarioStep }
  | { readonly kind: "complete"; readonly last: Step }
  | { readonly kind: "fail"; readonly error: Failure };

/** Does what comes next. Answers the step for which a child with the given id has to be born in this commit. */
export function conduct(draft: Draft, scenario: Scenario, childId: string): AgentStep | null {
  const move = nextMove(scenario, draft.steps);
  switch (move.kind) {
    case "begin":
      return begin(draft, move.step, childId);
    case "complete":
      finish(draft, { status: "COMPLETED", result: resultOf(draft, scenario, move.last), error: null });
      return null;
    case "fail":
      finish(draft, { status: "FAILED", result: null, error: move.error });
      return null;
  }
}

function nextMove({ entry, steps }: Scenario, recorded: ReadonlyMap<string, Step>): Move {
  const byKey = new Map(steps.map((step) => [step.key, step]));
  for (let key = entry; ; ) {
    // A sound scenario leads only to its own steps, and they were declared with the intent.
    const step = byKey.get(key) as ScenarioStep;
    const known = recorded.get(key) as Step;
    const error = failureOf(known);
    if (known.status !== "done" && error === null) return { kind: "begin", step };
    if (error !== null && step.onFailure === null) return { kind: "fail", error };
    const next = error === null ? step.onSuccess : step.onFailure;
    if (next === null) return { kind: "complete", last: known };
    key = next;
  }
}

/** What a step that is over has recorded: a result or an error is always there. */
const recordOf = (record: RawJson | null): unknown => (record as RawJson).parse();

/** What people say of a task; of anything else nothing of it is there. */
type Decision = { readonly outcome?: unknown; readonly comment?: unknown } | null;

/** Null for a step that went well, or is not over. */
function failureOf({ key, status, result, error }: Step): Failure | null {
  const named = `step ${JSON.stringify(key)}`;
  if (status === "failed") {
    const { code, message } = recordOf(error) as Failure;
    return { code, message: `${named}: ${message}`, retryable: false, details: { step: key } };
  }
  if (status !== "done") return null;
  const { outcome, comment } = (recordOf(result) as Decision) ?? {};
  if (typeof outcome !== "string" || !REJECTIONS.has(outcome)) return null;
  const said = typeof comment === "string" ? `: ${comment}` : "";
  return {
    code: "rejected",
    message: `${named} was decided: ${outcome}${said}`,
    retryable: false,
    details: { step: key, outcome },
  };
}

function begin(draft: Draft, planned: ScenarioStep, childId: string): AgentStep | null {
  const step = stepToRecord(draft, planned.key, Number.POSITIVE_INFINITY);
  step.startedAt = draft.now;
  step.finishedAt = null;
  step.error = null;
  const wait = planned.kind === "agent" ? waitForChild(draft, childId) : waitForPerson(draft, planned);
  // The server has the last word, and not the plan's last step.
  step.wait = { ...wait, keepOpen: true };
  awaitStep(draft, step as WaitingStep);
  return planned.kind === "agent" ? planned : null;
}

function waitForChild(draft: Draft, childId: string): Wait {
  draft.intent.hasChildren = true;
  return beginWait({ kind: "intents", ids: [childId], timeoutMs: null }, draft.now);
}

function waitForPerson({ now }: Draft, { task, timeoutMs }: HumanStep): Wait {
  return beginHumanWait(task, timeoutMs === null ? null : now + timeoutMs, now, false);
}

/** How each step went, and the result of the last one. */
function resultOf(draft: Draft, { id, steps }: Scenario, last: Step): RawJson {
  const begun = steps.flatMap(({ key }) => {
    const known = draft.steps.get(key) as Step;
    return known.wait === null ? [] : [[key, summaryOf(known)] as const];
  });
  return RawJson.of({
    scenario_id: id,
    steps: Object.fromEntries(begun),
    result: told(last),
  });
}

interface End {
  readonly intent_id: string;
  readonly status: string;
  readonly result?: unknown;
  readonly error?: Failure | null;
}

function summaryOf({ status, wait, result }: Step): object {
  if (wait?.kind === "intents") return { status, intent_id: wait.ids[0] };
  if (status !== "done") return { status };
  return { status, outcome: (recordOf(result) as Decision)?.outcome };
}

/** A child's result as its agent gave it; a person's decision as it is. */
function told({ wait, result }: Step): unknown {
  if (wait?.kind !== "intents") return result;
  const [end] = recordOf(result) as [End];
  // Too large to be carried along: it is with the child.
  return "result" in end ? end.result : { result_omitted: true, intent_id: end.intent_id };
}

/** Whether a child went well; else the failure that its step has. */
export function failureOfEnds(ends: RawJson): Failure | null {
  const [{ intent_id, status, error }] = ends.parse() as [End];
  if (status === "COMPLETED") return null;
  const { code, message } = error ?? { code: "child_ended", message: "nothing is told of why" };
  return {
    code,
    message: `intent ${intent_id} ended as ${status}: ${message}`,
    retryable: false,
    details: { intent_id },
  };
}

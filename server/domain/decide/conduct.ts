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
  | { readonly kind: "complete"; readonly last: Step | undefined }
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
  let last: Step | undefined;
  for (let key: string | null = entry; key !== null; ) {
    const step = byKey.get(key);
    const known = recorded.get(key);
    if (step === undefined) break;
    const error = known === undefined ? null : failureOf(known);
    if (known?.status !== "done" && error === null) return { kind: "begin", step };
    if (error !== null && step.onFailure === null) return { kind: "fail", error };
    last = known;
    key = error === null ? step.onSuccess : step.onFailure;
  }
  return { kind: "complete", last };
}

/** Null for a step that went well, or is not over. */
function failureOf({ key, status, result, error }: Step): Failure | null {
  const named = `step ${JSON.stringify(key)}`;
  if (status === "failed") {
    const known = error?.parse() as Failure | undefined;
    const message = `${named}: ${known?.message ?? "failed"}`;
    return { code: known?.code ?? "step_failed", message, retryable: false, details: { step: key } };
  }
  if (status !== "done") return null;
  const decided = result?.parse() as { outcome?: unknown; comment?: unknown } | null | undefined;
  const outcome = decided?.outcome;
  if (typeof outcome !== "string" || !REJECTIONS.has(outcome)) return null;
  const comment = typeof decided?.comment === "string" ? `: ${decided.comment}` : "";
  return {
    code: "rejected",
    message: `${named} was decided: ${outcome}${comment}`,
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
function resultOf(draft: Draft, scenario: Scenario, last: Step | undefined): RawJson {
  const steps = scenario.steps.flatMap(({ key }) => {
    const known = draft.steps.get(key);
    return known === undefined || known.status === "planned" ? [] : [[key, summaryOf(known)] as const];
  });
  return RawJson.of({
    scenario_id: scenario.id,
    steps: Object.fromEntries(steps),
    result: last === undefined ? null : told(last),
  });
}

interface End {
  readonly intent_id: string;
  readonly status: string;
  readonly result?: unknown;
}

function summaryOf({ status, wait, result }: Step): object {
  if (wait?.kind === "intents") return { status, intent_id: wait.ids[0] };
  const decided = result?.parse() as { outcome?: unknown } | null | undefined;
  return { status, ...(decided?.outcome === undefined ? {} : { outcome: decided.outcome }) };
}

/** A child's result as its agent gave it; a person's decision as it is. */
function told({ wait, result }: Step): unknown {
  if (wait?.kind !== "intents") return result;
  const [end] = (result?.parse() ?? []) as End[];
  return end?.result ?? null;
}

/** Whether a child went well; else the failure that its step has. */
export function failureOfEnds(ends: RawJson): Failure | null {
  const [end] = ends.parse() as { intent_id: string; status: string; error?: Failure | null }[];
  if (end === undefined || end.status === "COMPLETED") return null;
  const { code, message } = end.error ?? { code: end.status.toLowerCase(), message: end.status };
  return {
    code,
    message: `intent ${end.intent_id} ended as ${end.status}: ${message}`,
    retryable: false,
    details: { intent_id: end.intent_id },
  };
}

// A scenario: agents and people who do the steps of one piece of work, one after the other. Compiled once from a bundle into
// what the server leads an intent through. Times are milliseconds; what is wrong is told with its place in the bundle.

import { type Address, parseAddress } from "./address.ts";
import type { HumanTask } from "./human-task.ts";
import { Refusal } from "./refusal.ts";

export interface Reminders {
  readonly remindAfterMs: number | null;
  readonly remindIntervalMs: number | null;
  readonly maxReminders: number | null;
  readonly escalateTo: string | null;
}

export interface BundleStep extends Reminders {
  readonly key: string;
  readonly toolId: string;
  /** A role of the bundle, or an address. */
  readonly assignedTo: string | null;
  readonly requiresApproval: boolean;
  readonly task: HumanTask | null;
  readonly deadlineMs: number | null;
  readonly input: unknown;
  readonly onSuccess: string | null;
  readonly onFailure: string | null;
}

export interface Bundle extends Reminders {
  readonly id: string;
  readonly title: string | null;
  readonly intentType: string;
  readonly agents: readonly { readonly role: string; readonly address: string }[];
  readonly humans: readonly { readonly role: string; readonly contact: string | null }[];
  readonly steps: readonly BundleStep[];
  readonly entryStep: string | null;
  /** The intent is a person's task, where there are no steps. */
  readonly task: HumanTask | null;
  readonly maxDeliveryAttempts: number;
}

interface StepBase {
  readonly key: string;
  readonly toolId: string;
  readonly timeoutMs: number | null;
  readonly onSuccess: string | null;
  readonly onFailure: string | null;
}
export interface AgentStep extends StepBase {
  readonly kind: "agent";
  readonly address: Address;
  readonly addressAsSent: string;
  readonly input: unknown;
}
export interface HumanStep extends StepBase {
  readonly kind: "human";
  readonly task: HumanTask;
}
export type ScenarioStep = AgentStep | HumanStep;

/** What a conducted intent carries: JSON, and read back as it was written. */
export interface Scenario {
  readonly id: string;
  readonly intentType: string;
  readonly maxDeliveryAttempts: number;
  readonly entry: string;
  readonly steps: readonly ScenarioStep[];
}

export interface Problem {
  readonly pointer: string;
  readonly detail: string;
}

export interface Compiled {
  readonly scenario: Scenario;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

/** The tool by which AXP bundles ask for a person's signature. */
const SIGN_OFF = "tool.approval.human_signoff";

/** One-part addresses are completed by `namespace`. A scenario with problems is not to be used. */
export function compile(bundle: Bundle, namespace: string): Compiled {
  const problems: Problem[] = [];
  const steps = bundle.steps.length > 0 ? inOrder(bundle.steps) : impliedStep(bundle, problems);
  const compiled = steps.flatMap((step, index) => {
    try {
      return [compileStep(bundle, step, namespace)];
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      problems.push({ pointer: placeOf(bundle, index), detail: error.message });
      return [];
    }
  });
  problems.push(...judgeOrder(bundle, steps));
  const entry = bundle.entryStep ?? steps[0]?.key ?? "";
  const scenario: Scenario = {
    id: bundle.id,
    intentType: bundle.intentType,
    maxDeliveryAttempts: bundle.maxDeliveryAttempts,
    entry,
    steps: compiled,
  };
  return { scenario, problems, warnings: problems.length > 0 ? [] : unreached(scenario) };
}

const placeOf = (bundle: Bundle, index: number): string =>
  bundle.steps.length === 0 ? "/workflow/steps" : `/workflow/steps/${index}/assigned_to`;

/** Where no step says what follows it, they follow each other as they stand. */
function inOrder(steps: readonly BundleStep[]): BundleStep[] {
  if (steps.some((step) => step.onSuccess !== null)) return [...steps];
  return steps.map((step, index) => ({ ...step, onSuccess: steps[index + 1]?.key ?? null }));
}

/** Without a workflow, the only agent or person does all of it. */
function impliedStep({ agents, task }: Bundle, problems: Problem[]): BundleStep[] {
  const none = { remindAfterMs: null, remindIntervalMs: null, maxReminders: null, escalateTo: null };
  const base = {
    ...none,
    deadlineMs: null,
    input: undefined,
    onSuccess: null,
    onFailure: null,
    requiresApproval: false,
    task,
  };
  if (task !== null) return [{ ...base, key: "human_task", toolId: SIGN_OFF, assignedTo: null }];
  const [agent, ...others] = agents;
  if (agent !== undefined && others.length === 0)
    return [{ ...base, key: "task", toolId: "", assignedTo: agent.role }];
  const detail = "are needed, unless there is exactly one agent or the intent is a human_task";
  problems.push({ pointer: "/workflow/steps", detail });
  return [];
}

function compileStep(bundle: Bundle, step: BundleStep, namespace: string): ScenarioStep {
  const { key, toolId, assignedTo, deadlineMs, onSuccess, onFailure } = step;
  const base = { key, toolId, timeoutMs: deadlineMs, onSuccess, onFailure };
  const human = bundle.humans.find(({ role }) => role === assignedTo);
  if (human !== undefined || step.requiresApproval || step.task !== null || toolId === SIGN_OFF)
    return { ...base, kind: "human", task: taskOf(bundle, step, human?.contact ?? null) };
  if (assignedTo === null) {
    throw new Refusal(
      "validation_failed",
      `is needed: this server runs no tools of its own (${JSON.stringify(toolId)}); assign the step to an agent or a person`,
    );
  }
  const sent = bundle.agents.find(({ role }) => role === assignedTo)?.address ?? assignedTo;
  return {
    ...base,
    kind: "agent",
    address: parseAddress(sent, namespace),
    addressAsSent: sent,
    input: step.input,
  };
}

function taskOf(bundle: Bundle, step: BundleStep, contact: string | null): HumanTask {
  const given = step.task ?? bundle.task;
  const assignees = contact === null ? [] : [contact];
  const own = step.remindAfterMs !== null ? step : given?.remindAfterMs == null ? bundle : given;
  return {
    title: given?.title ?? bundle.title ?? step.key,
    description: given?.description ?? null,
    taskType: given?.taskType ?? "approval",
    allowedOutcomes: given?.allowedOutcomes ?? ["approved", "rejected"],
    requiredComment: given?.requiredComment ?? false,
    assignees: given !== null && given.assignees.length > 0 ? given.assignees : assignees,
    formSchema: given?.formSchema ?? null,
    remindAfterMs: own.remindAfterMs,
    remindIntervalMs: own.remindIntervalMs,
    maxReminders: own.maxReminders ?? (own.remindAfterMs === null ? 0 : 1),
    escalateTo: own.escalateTo,
  };
}

/** Every step is named once, what follows is there, and nothing leads back. */
function judgeOrder(bundle: Bundle, steps: readonly BundleStep[]): Problem[] {
  const problems: Problem[] = [];
  const keys = new Set(steps.map(({ key }) => key));
  if (keys.size < steps.length)
    problems.push({ pointer: "/workflow/steps", detail: "step_ids must be different" });
  if (bundle.entryStep !== null && !keys.has(bundle.entryStep))
    problems.push({ pointer: "/workflow/entry_step", detail: "is none of the steps" });
  steps.forEach(({ onSuccess, onFailure }, index) => {
    for (const [name, next] of Object.entries({ on_success: onSuccess, on_failure: onFailure }))
      if (next !== null && !keys.has(next))
        problems.push({ pointer: `/workflow/steps/${index}/${name}`, detail: "is none of the steps" });
  });
  if (problems.length === 0 && leadsBack(steps))
    problems.push({ pointer: "/workflow/steps", detail: "lead back to a step that came before" });
  return problems;
}

function leadsBack(steps: readonly BundleStep[]): boolean {
  const left = new Map(steps.map((step) => [step.key, step]));
  // Whoever leads only to steps that are gone may go, too.
  for (;;) {
    const ends = [...left.values()].filter(
      ({ onSuccess, onFailure }) => !left.has(onSuccess ?? "") && !left.has(onFailure ?? ""),
    );
    if (ends.length === 0) return left.size > 0;
    for (const { key } of ends) left.delete(key);
  }
}

function unreached({ entry, steps }: Scenario): string[] {
  const byKey = new Map(steps.map((step) => [step.key, step]));
  const reached = new Set<string>();
  const open = [entry];
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    const step = byKey.get(key);
    if (step === undefined || reached.has(key)) continue;
    reached.add(key);
    open.push(...[step.onSuccess, step.onFailure].filter((next) => next !== null));
  }
  return steps
    .filter(({ key }) => !reached.has(key))
    .map(({ key }) => `step ${JSON.stringify(key)} is never reached`);
}

// Owns: the declared form of an agent: one function per step, run in the plan's order. Must not: record steps itself.
import type { Attempt } from "./attempt.ts";
import type { Context } from "./context.ts";
import type { Started, WireStep } from "./deliveries.ts";
import { toMs } from "./duration.ts";
import { IntentFailure, PerdureError } from "./errors.ts";
import { isTerminal, type Wire } from "./intents.ts";
import { stepPlanToWire } from "./sending.ts";
import type { StepLog } from "./step-log.ts";
import { SERVER_TIMEOUT_MARGIN_MS, type Step, type StepOptions, type StepRunner } from "./steps.ts";

export type StepFn<P = any> = (ctx: Context<P>, step: Step) => unknown;

/**
 * One function per step. The order is the plan when the sender gave none; the last step's value is the intent's result. Keys that look like
 * whole numbers are refused, because JavaScript reorders them. A step cannot wait (`ctx.ask`, `ctx.sleep` …): that takes a handler.
 */
export type Steps<P = any> = Record<string, StepFn<P> | ({ run: StepFn<P> } & StepOptions)>;

export interface PlannedStep extends StepOptions {
  key: string;
  run: StepFn;
}

/** The steps as a list. Throws `validation_failed` when there is none, or a key would be reordered. */
export function listSteps(steps: Steps): PlannedStep[] {
  const list = Object.entries(steps).map(([key, step]) =>
    typeof step === "function" ? { key, run: step } : { ...step, key },
  );
  if (list.length === 0) throw new PerdureError("validation_failed", "an agent needs at least one step");
  for (const { key, run } of list) {
    if (/^\d+$/.test(key)) {
      throw new PerdureError(
        "validation_failed",
        `step key "${key}" is a whole number, whose place among the keys JavaScript changes; name it`,
      );
    }
    if (typeof run !== "function")
      throw new PerdureError("validation_failed", `step "${key}" has no function to run`);
  }
  return list;
}

const wirePlans = new WeakMap<readonly PlannedStep[], Wire[]>();

/** The plan as the agent declares it at start: the same for every delivery. */
export function planToWire(steps: readonly PlannedStep[]): Wire[] {
  let plan = wirePlans.get(steps);
  if (plan === undefined) {
    plan = makeWirePlan(steps);
    wirePlans.set(steps, plan);
  }
  return plan;
}

function makeWirePlan(steps: readonly PlannedStep[]): Wire[] {
  return steps.map(({ key, timeout, retry, onInterrupt }) =>
    stepPlanToWire({
      key,
      ...(timeout === undefined ? {} : { timeout: toMs(timeout) + SERVER_TIMEOUT_MARGIN_MS }),
      ...(retry === undefined ? {} : { retry }),
      ...(onInterrupt === undefined
        ? {}
        : { onInterrupt: typeof onInterrupt === "function" ? "retry" : onInterrupt }),
    }),
  );
}

/** Whether the server may begin the step without being asked: not when the agent has something to say, or to check, first. */
export function mayBeginAhead(
  step: PlannedStep | undefined,
  record: WireStep | undefined,
  planBy: Started["plan_by"],
): boolean {
  if (step === undefined) return false;
  if (step.input !== undefined) return false;
  if (typeof step.onInterrupt === "function" && record?.interrupted) return false;
  if (planBy !== "sender") return true; // the plan is ours and carries the options
  return step.onInterrupt === undefined && step.timeout === undefined && step.retry === undefined;
}

export interface PlanRun {
  steps: readonly PlannedStep[];
  runner: StepRunner;
  log: StepLog;
  attempt: Attempt;
  ctx: Context;
  started: Started;
}

/** Runs what is left of the plan. `ended`: recording the last step completed the intent. Throws as a handler does. */
export async function runPlan(plan: PlanRun): Promise<{ ended: boolean; result: unknown }> {
  const { steps, runner, log, attempt, ctx, started } = plan;
  const byKey = new Map(steps.map((step) => [step.key, step]));
  const declared = log.declared.map((step) => step.key);
  log.reserve(declared);
  for (const key of declared) {
    if (byKey.has(key) || log.record(key)?.status === "done") continue;
    // Before any work: half of it done and then failed would help nobody.
    const message = `the plan has a step "${key}", and this agent has no function of that name`;
    throw new IntentFailure(message, { code: "unknown_step", retryable: false });
  }
  for (const [index, key] of declared.entries()) {
    const step = byKey.get(key);
    if (step === undefined) continue;
    const record = log.record(key);
    const next = nextToRun(declared, index + 1, log);
    const recorded = await runner.run({
      key,
      run: (view) => step.run(ctx, view),
      // The answer to the last one tells that the intent is complete.
      options: next === undefined ? { ...step, durability: "sync" } : step,
      begun: record?.status === "running" ? record : undefined,
      recordWith: () => {
        const ahead = next !== undefined && attempt.handBack === undefined && step.durability !== "async";
        return ahead && mayBeginAhead(byKey.get(next), log.record(next), started.plan_by)
          ? { begin_next: next }
          : {};
      },
    });
    if (recorded.answer !== undefined && isTerminal(recorded.answer.intent_status))
      return { ended: true, result: recorded.result };
  }
  return { ended: false, result: log.results[declared.at(-1) ?? ""] ?? null };
}

function nextToRun(declared: readonly string[], from: number, log: StepLog): string | undefined {
  for (let index = from; index < declared.length; index += 1) {
    const key = declared[index] as string;
    if (log.record(key)?.status !== "done") return key;
  }
  return undefined;
}

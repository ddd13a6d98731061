// Owns: the wire shapes of what the in-memory server keeps, as far as the SDK reads them.
import type { Wire } from "../../intents.ts";
import { isOver, iso, type ModelIntent, type ModelStep, type StateVersion } from "./shapes.ts";
import { doneCount, nextDeclared, stepKey } from "./steps.ts";

export function intentView(intent: ModelIntent): Wire {
  const { id, sent, status, attempt, steps, openSteps, planBy } = intent;
  const doubts = [...steps.values()].filter((step) => step.interrupted).map((step) => step.key);
  const total = [...steps.values()].filter((step) => step.position !== null).length;
  return {
    intent_id: id,
    status,
    lifecycle_status: status,
    lifecycle_waiting_reason: intent.reason,
    created_at: iso(intent.createdAt),
    updated_at: intent.log.at(-1)?.at,
    intent_type: sent.intent_type,
    from_agent: "test",
    to_agent: sent.to_agent,
    address: `agent://${intent.address}`,
    payload: sent.payload ?? {},
    result: intent.result,
    error: intent.error,
    seq: intent.log.length,
    attempt,
    lost_deliveries: intent.strikes,
    max_delivery_attempts: sent.max_delivery_attempts ?? 3,
    deadline_at: intent.deadlineAt === null ? null : iso(intent.deadlineAt),
    paused: false,
    session: sent.session ?? null,
    parent_intent_id: sent.parent_intent_id ?? null,
    metadata: sent.metadata ?? {},
    plan_by: planBy,
    progress: {
      done: doneCount(intent),
      ...(planBy === null ? {} : { total }),
      ...(openSteps.length === 0 ? {} : { current: openSteps[0] }),
    },
    ...(doubts.length === 0 || isOver(intent) ? {} : { in_doubt: doubts }),
  };
}

export const intentAnswer = (intent: ModelIntent): Wire => {
  const view = intentView(intent);
  return { ok: true, intent: view, status: view.status, result: view.result, error: view.error };
};

export function stepView(intent: ModelIntent, step: ModelStep): Wire {
  const { startedAt, finishedAt, wait } = step;
  return {
    key: step.key,
    status: step.status,
    ...(step.status === "done" ? { result: step.result } : {}),
    ...(step.error === null ? {} : { error: step.error }),
    idempotency_key: stepKey(intent, step.key),
    ...(wait === null ? {} : { wait: wait.wire }),
    tries: step.tries,
    declared: step.position !== null,
    interrupted: step.interrupted,
    ...(step.timeoutMs === null ? {} : { timeout_seconds: step.timeoutMs / 1_000 }),
    ...(step.retry === null ? {} : { retry: step.retry }),
    ...(startedAt === null || finishedAt === null || wait !== null
      ? {}
      : { duration_ms: finishedAt - startedAt }),
  };
}

function nextView(intent: ModelIntent): Wire | null {
  const next = nextDeclared(intent);
  if (next === undefined) return null;
  const { key, position, interrupted, tries } = next;
  return { key, index: position, idempotency_key: stepKey(intent, key), interrupted, tries };
}

export const workView = (intent: ModelIntent): Wire => ({
  ok: true,
  intent_id: intent.id,
  status: intent.status,
  attempt: intent.attempt,
  plan_by: intent.planBy,
  steps: [...intent.steps.values()].map((step) => stepView(intent, step)),
  next_step: nextView(intent),
  cancel: false,
  pause: false,
});

/** The whole working set. */
export const deliveryView = (intent: ModelIntent): Wire => ({
  ...workView(intent),
  redelivered: intent.attempt > 1,
  intent: intentView(intent),
});

export const stepAnswer = (intent: ModelIntent, step: ModelStep, begun?: ModelStep): Wire => ({
  ok: true,
  step: stepView(intent, step),
  ...(begun === undefined ? {} : { begun: stepView(intent, begun) }),
  next_step: nextView(intent),
  intent_status: intent.status,
  pause: false,
});

export const entryView = (scope: string, key: string, entry: StateVersion): Wire => ({
  scope,
  key,
  version: entry.version,
  ...(entry.deleted ? { deleted: true } : { value: entry.value }),
  updated_at: iso(entry.at),
});

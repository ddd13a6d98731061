// Intents for decisions, brought to where a test needs them by the decisions themselves.

import { EVERYTHING } from "../../server/domain/access.ts";
import { deliver } from "../../server/domain/decide/attempt.ts";
import { create, type NewIntent } from "../../server/domain/decide/create.ts";
import {
  begin,
  type RecordInput,
  recordDone,
  recordFailed,
  start,
} from "../../server/domain/decide/steps.ts";
import { type Draft, openDraft } from "../../server/domain/draft.ts";
import { type Actor, SERVER } from "../../server/domain/intent.ts";
import type { StepPlan } from "../../server/domain/plan.ts";
import { RawJson } from "../../server/domain/raw-json.ts";

export const NOW = Date.parse("2026-01-01T00:00:00Z");
export const AGENT: Actor = { name: "agent://local/dev/a", operator: false, access: EVERYTHING };
export const LIMITS = { maxTotalLosses: 100 };

export const plan = (key: string, more: Partial<StepPlan> = {}): StepPlan => ({
  key,
  title: null,
  onInterrupt: null,
  timeoutMs: null,
  retry: null,
  ...more,
});

export function newIntent(more: Partial<NewIntent> = {}): NewIntent {
  return {
    id: "00000000-0000-7000-8000-000000000001",
    namespace: "local/dev",
    toAgent: "local/dev/a",
    sentBy: null,
    intentType: "t.v1",
    priority: 0,
    deliverAt: null,
    deadlineAt: null,
    ttlMs: null,
    maxDeliveryAttempts: 3,
    attemptTimeoutMs: null,
    onInterrupt: null,
    retry: null,
    steps: [],
    parentId: null,
    humanTask: null,
    keepVersions: null,
    retainMs: null,
    ...more,
  };
}

/** A fresh draft over what the last one left, `ms` later. */
export function next(draft: Draft, ms = 0, actor: Actor = AGENT): Draft {
  return openDraft(draft.intent, draft.steps, actor, draft.now + ms);
}

export function created(more: Partial<NewIntent> = {}): Draft {
  return create(newIntent(more), SERVER, NOW);
}

export function delivered(from: Draft, explicitAck = false): Draft {
  const draft = next(from);
  deliver(draft, { id: "00000000-0000-7000-8000-00000000c0de", name: "c", explicitAck });
  return draft;
}

export function started(from: Draft, steps: readonly StepPlan[] | null = null): Draft {
  const draft = next(delivered(from, true));
  start(draft, {
    attempt: draft.intent.attempt,
    ackOnly: false,
    beginNext: true,
    steps,
    force: false,
    stepsMax: 100,
  });
  return draft;
}

export const record = (draft: Draft, more: Partial<RecordInput> = {}): RecordInput => ({
  attempt: draft.intent.attempt,
  stepsMax: 100,
  completeIntent: true,
  digest: "digest",
  ...more,
});

export const json = (value: unknown): RawJson => RawJson.of(value);
export const done = (draft: Draft, key: string, value: unknown = 1) =>
  recordDone(draft, key, json(value), record(draft));
/** A retryable failure with details. */
export const failed = (draft: Draft, key: string, input: RecordInput, details: unknown) =>
  recordFailed(draft, key, { ...input, error: { code: "x", message: "x", details }, retryable: true });
export const run = (draft: Draft, key: string) => begin(draft, key, { stepsMax: 100 });
export const types = (draft: Draft): string[] =>
  draft.events.map((event) => event.type.slice("intent.".length));

export function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return "none";
}

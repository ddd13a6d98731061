// Changing the policy of an intent under way: one entry of the log says what was and what is. What would break a promise
// already made is refused: an intent that has lost as many deliveries as it may has ended.

import { type Draft, editStep, emit } from "../draft.ts";
import type { RetryPolicy } from "../intent.ts";
import { isTerminal } from "../lifecycle.ts";
import type { PolicyPatch, ReminderPatch } from "../policy.ts";
import { Refusal } from "../refusal.ts";
import { type HumanWait, waitDueAt, waitingSteps } from "../wait.ts";
import { waitToJson } from "../wait-json.ts";
import { pause, unpause } from "./operator.ts";

type Changes = Record<string, { readonly from: unknown; readonly to: unknown }>;

const DEFAULT_RETRY: RetryPolicy = {
  maxRetries: 0,
  initialDelayMs: 1_000,
  factor: 2,
  maxDelayMs: 300_000,
};

/** Answers what changed, by name; nothing is written when nothing did. */
export function changePolicy(draft: Draft, patch: PolicyPatch, reason: string | null): readonly string[] {
  const { intent } = draft;
  if (isTerminal(intent.status)) {
    throw new Refusal("intent_terminal", `the intent already ended as ${intent.status}`, {
      status: intent.status,
    });
  }
  const changes: Changes = {
    ...changeTimes(draft, patch),
    ...changeLosses(draft, patch),
    ...changeRetries(draft, patch),
    ...(patch.reminders === undefined ? {} : changeReminders(draft, patch.reminders)),
  };
  const named = Object.keys(changes);
  const toggled = patch.paused !== undefined && patch.paused !== intent.pausedBy.includes("intent");
  if (named.length === 0 && !toggled) return [];
  intent.patches += 1;
  emit(draft, "intent.policy_changed", {
    ...changes,
    ...(toggled ? { paused: { from: !patch.paused, to: patch.paused } } : {}),
    ...(reason === null ? {} : { reason }),
  });
  if (toggled && patch.paused === true) pause(draft, reason);
  else if (toggled) unpause(draft);
  return toggled ? [...named, "paused"] : named;
}

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1000);

function changeTimes({ intent, now }: Draft, patch: PolicyPatch): Changes {
  const changes: Changes = {};
  const deadline = patch.ttlMs === undefined ? patch.deadlineAt : now + patch.ttlMs;
  if (deadline !== undefined && deadline !== intent.deadlineAt) {
    changes.deadline_at = { from: iso(intent.deadlineAt), to: iso(deadline) };
    intent.deadlineAt = deadline;
  }
  const timeout = patch.attemptTimeoutMs;
  if (timeout !== undefined && timeout !== intent.attemptTimeoutMs) {
    changes.attempt_timeout_seconds = { from: seconds(intent.attemptTimeoutMs), to: seconds(timeout) };
    intent.attemptTimeoutMs = timeout;
  }
  return changes;
}

function changeLosses({ intent }: Draft, { maxDeliveryAttempts: max }: PolicyPatch): Changes {
  const from = intent.maxDeliveryAttempts;
  if (max === undefined || max === from) return {};
  if (max <= intent.strikes) {
    const detail = `must be more than ${intent.strikes}: so many deliveries are lost already`;
    throw new Refusal("validation_failed", `/max_delivery_attempts: ${detail}`, {
      errors: [{ pointer: "/max_delivery_attempts", detail }],
    });
  }
  intent.maxDeliveryAttempts = max;
  return { max_delivery_attempts: { from, to: max } };
}

function changeRetries({ intent }: Draft, { maxRetries, retryDelayMs }: PolicyPatch): Changes {
  const from = intent.retry;
  const before = from ?? DEFAULT_RETRY;
  const to: RetryPolicy = {
    ...before,
    maxRetries: maxRetries ?? before.maxRetries,
    initialDelayMs: retryDelayMs ?? before.initialDelayMs,
    maxDelayMs: Math.max(before.maxDelayMs, retryDelayMs ?? 0),
  };
  const changes: Changes = {};
  if (to.maxRetries !== before.maxRetries)
    changes.max_retries = { from: before.maxRetries, to: to.maxRetries };
  if (to.initialDelayMs !== before.initialDelayMs)
    changes.retry_delay_seconds = { from: seconds(before.initialDelayMs), to: seconds(to.initialDelayMs) };
  if (Object.keys(changes).length > 0) intent.retry = to;
  return changes;
}

/** Counted from now on: whoever is asked is not reminded for the time before. */
function changeReminders(draft: Draft, patch: ReminderPatch): Changes {
  const asked = waitingSteps(draft.intent, draft.steps).find(({ wait }) => wait.kind === "human");
  if (asked === undefined) return {};
  const before = asked.wait as HumanWait;
  const { task } = before;
  const next = {
    ...task,
    remindAfterMs: patch.remindAfterMs ?? task.remindAfterMs,
    remindIntervalMs: patch.remindIntervalMs ?? task.remindIntervalMs,
    maxReminders:
      patch.maxReminders ?? Math.max(task.maxReminders, patch.remindAfterMs === undefined ? 0 : 1),
    escalateTo: patch.escalateTo === undefined ? task.escalateTo : patch.escalateTo,
  };
  const more = before.reminders < next.maxReminders || (next.escalateTo !== null && !before.escalated);
  const delay =
    before.reminders === 0
      ? (next.remindAfterMs ?? next.remindIntervalMs)
      : (next.remindIntervalMs ?? next.remindAfterMs);
  const remindAt = more && delay !== null ? draft.now + delay : null;
  const wait: HumanWait = { ...before, task: next, remindAt };
  if (JSON.stringify(next) === JSON.stringify(task)) return {};
  editStep(draft, asked.key).wait = wait;
  draft.intent.wakeAt = waitDueAt(wait);
  return { reminders: { from: waitToJson(before).human_task, to: waitToJson(wait).human_task } };
}

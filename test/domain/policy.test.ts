// Changing a policy, and letting a wait go on: pure decisions.
import { expect, test } from "vitest";
import { lose } from "../../server/domain/decide/attempt.ts";
import { tick } from "../../server/domain/decide/operator.ts";
import { changePolicy } from "../../server/domain/decide/policy.ts";
import { cancel } from "../../server/domain/decide/resolve.ts";
import { unblock } from "../../server/domain/decide/unblock.ts";
import type { Draft } from "../../server/domain/draft.ts";
import { checkDecision, type HumanTask } from "../../server/domain/human-task.ts";
import { isStale, type PolicyPatch, policyGeneration } from "../../server/domain/policy.ts";
import type { HumanWait } from "../../server/domain/wait.ts";
import { created, delivered, LIMITS, NOW, next } from "./builders.ts";

const TASK: HumanTask = {
  title: "May it?",
  description: null,
  taskType: null,
  allowedOutcomes: ["approved"],
  requiredComment: false,
  assignees: [],
  formSchema: null,
  remindAfterMs: null,
  remindIntervalMs: null,
  maxReminders: 0,
  escalateTo: null,
};
const asked = (more: Partial<HumanTask> = {}): Draft => created({ humanTask: { ...TASK, ...more } });
const waitOf = (draft: Draft): HumanWait => draft.steps.get("human_task")?.wait as HumanWait;

function patched(from: Draft, patch: PolicyPatch, ms = 0, reason: string | null = null): Draft {
  const draft = next(from, ms);
  changePolicy(draft, patch, reason);
  return draft;
}

test("each change counts once, is told with what was, and one that changes nothing does not count", () => {
  const draft = patched(
    created(),
    { deadlineAt: NOW + 10, attemptTimeoutMs: 5, maxDeliveryAttempts: 4 },
    0,
    "why",
  );
  expect(draft.intent).toMatchObject({
    patches: 1,
    deadlineAt: NOW + 10,
    attemptTimeoutMs: 5,
    maxDeliveryAttempts: 4,
  });
  expect(policyGeneration(draft.intent)).toBe(1);
  expect(draft.events).toMatchObject([
    { type: "intent.policy_changed", details: { max_delivery_attempts: { from: 3, to: 4 }, reason: "why" } },
  ]);
  const again = patched(draft, { deadlineAt: NOW + 10, attemptTimeoutMs: 5, maxDeliveryAttempts: 4 });
  expect([again.intent.patches, again.events]).toEqual([1, []]);
  const cleared = patched(draft, { deadlineAt: null, attemptTimeoutMs: null });
  expect(cleared.intent).toMatchObject({ patches: 2, deadlineAt: null, attemptTimeoutMs: null });
  expect(patched(draft, { ttlMs: 50, deadlineAt: 1 }, 7).intent.deadlineAt).toBe(NOW + 57);
});

test("retries are changed where there were some, and begin where there were none", () => {
  expect(patched(created(), { maxRetries: 2 }).intent.retry).toMatchObject({
    maxRetries: 2,
    initialDelayMs: 1_000,
  });
  const retry = { maxRetries: 1, initialDelayMs: 10, factor: 3, maxDelayMs: 20 };
  const draft = patched(created({ retry }), { retryDelayMs: 99 });
  expect(draft.intent.retry).toEqual({ maxRetries: 1, initialDelayMs: 99, factor: 3, maxDelayMs: 99 });
  expect(patched(created({ retry }), { maxRetries: 1 }).intent.retry).toBe(retry);
});

test("as many losses as have happened are the end, and so they are no limit", () => {
  const lost = next(delivered(created()));
  lose(lost, "expired", LIMITS);
  expect(() => patched(lost, { maxDeliveryAttempts: 1 })).toThrow(/more than 1/);
  expect(patched(lost, { maxDeliveryAttempts: 2 }).intent.maxDeliveryAttempts).toBe(2);
});

test("a pause is one of the changes, and is told as a pause, too", () => {
  const paused = patched(created(), { paused: true });
  expect(paused.intent).toMatchObject({ paused: true, patches: 1 });
  expect(patched(paused, { paused: true }).events).toEqual([]);
  const freed = patched(paused, { paused: false });
  expect(freed.events.map((event) => event.type)).toEqual(["intent.policy_changed", "intent.unpaused"]);
});

test("an intent that has ended keeps its policy", () => {
  const over = next(created());
  cancel(over, null);
  expect(() => patched(over, { ttlMs: 1 })).toThrow(/already ended/);
});

test("reminders begin anew from the change, whatever there were before", () => {
  const draft = patched(asked(), { reminders: { remindAfterMs: 30 } }, 5);
  expect(waitOf(draft)).toMatchObject({ remindAt: NOW + 35, task: { remindAfterMs: 30, maxReminders: 1 } });
  expect(draft.intent.wakeAt).toBe(NOW + 35);
  const reminded = next(draft, 30);
  expect(tick(reminded, LIMITS)).toBe(true);
  const more = patched(reminded, { reminders: { remindIntervalMs: 7, maxReminders: 3, escalateTo: "boss" } });
  expect(waitOf(more)).toMatchObject({
    remindAt: reminded.now + 7,
    reminders: 1,
    task: { escalateTo: "boss" },
  });
  const fewer = patched(more, { reminders: { maxReminders: 1, escalateTo: null } });
  expect(waitOf(fewer).remindAt).toBeNull();
  const late = patched(reminded, { reminders: { maxReminders: 5 } });
  expect(waitOf(late).remindAt).toBe(reminded.now + 30);
});

test("reminders of nobody, without a time, or as they are already change nothing", () => {
  expect(patched(created(), { reminders: { maxReminders: 2 } }).events).toEqual([]);
  expect(waitOf(patched(asked(), { reminders: { escalateTo: "boss" } }))).toMatchObject({
    remindAt: null,
    task: { escalateTo: "boss", maxReminders: 0 },
  });
  expect(waitOf(patched(asked(), { reminders: { maxReminders: 2 } })).remindAt).toBeNull();
  expect(waitOf(patched(asked(), { reminders: { remindIntervalMs: 9, maxReminders: 2 } })).remindAt).toBe(
    NOW + 9,
  );
  expect(
    patched(asked({ remindAfterMs: 3, maxReminders: 1 }), { reminders: { remindAfterMs: 3 } }).events,
  ).toEqual([]);
});

test("whoever says what it saw is right only while that is so", () => {
  const { intent } = patched(created(), { ttlMs: 1 });
  expect([isStale(intent, 0), isStale(intent, 1), isStale(intent, null), isStale(intent, undefined)]).toEqual(
    [true, false, false, false],
  );
});

test("a go on for another step than the one that waits is for nothing", () => {
  const draft = next(asked());
  expect(unblock(draft, "other", null)).toMatchObject({ step: null, why: "step_in_doubt" });
  expect(unblock(next(created()), null, null)).toMatchObject({ step: null, why: "nothing_waiting" });
});

test("a form may ask for the outcome and the comment, which stand beside its data", () => {
  const formSchema = { required: ["outcome", "comment", "owner", 7] };
  const task = { ...TASK, formSchema };
  const decision = { outcome: "approved", comment: "fine", data: { owner: "ann" } };
  expect(() => checkDecision(task, decision)).not.toThrow();
  expect(() => checkDecision(task, { ...decision, comment: null })).toThrow(/comment/);
  expect(() => checkDecision(task, { ...decision, data: null })).toThrow(/asks for owner/);
  expect(() =>
    checkDecision({ ...task, formSchema: { required: "x" } }, { ...decision, data: null }),
  ).not.toThrow();
});

import { describe, expect, test } from "vitest";
import { deliver, handBackIfPaused, lose, release } from "../../server/domain/decide/attempt.ts";
import { auditStaleWrite, requireOpenAttempt } from "../../server/domain/decide/fence.ts";
import { pause, retry, tick, unpause } from "../../server/domain/decide/operator.ts";
import { cancel, type ResolveInput, resolve } from "../../server/domain/decide/resolve.ts";
import { recordFailed } from "../../server/domain/decide/steps.ts";
import { SERVER } from "../../server/domain/intent.ts";
import { isClaimable, nextDueAt } from "../../server/domain/schedule.ts";
import {
  created,
  delivered,
  done,
  json,
  LIMITS,
  NOW,
  next,
  plan,
  record,
  refusal,
  run,
  started,
  types,
} from "./builders.ts";

const OPERATOR = { ...SERVER, name: "operator" };
const ending = (more: Partial<ResolveInput> = {}): ResolveInput => ({
  status: "COMPLETED",
  attempt: 1,
  result: json(1),
  error: null,
  retryable: false,
  random: 0,
  holderIsLive: true,
  ...more,
});

test("an agent that tells how it went without having said that it began has begun", () => {
  const draft = next(delivered(created(), true));
  resolve(draft, ending());
  expect(types(draft)).toEqual(["in_progress", "completed"]);
});

test("a hand-back tells in the log which steps were begun and never run", () => {
  const draft = next(started(created({ steps: [plan("a")] })));
  release(draft, ["a", "unknown"], "draining");
  expect(draft.events[0]?.details).toMatchObject({ reason: "draining", not_run: ["a"] });
  expect(draft.steps.get("a")).toMatchObject({ status: "planned", tries: 0, interrupted: false });
});

describe("delivery", () => {
  test("each delivery is a new attempt; an agent that never acknowledges is at work from then on", () => {
    const draft = delivered(created());
    expect(types(draft)).toEqual(["delivered", "in_progress"]);
    expect(draft.intent).toMatchObject({ attempt: 1, status: "IN_PROGRESS", started: false });
    expect(delivered(created(), true).intent).toMatchObject({ status: "DELIVERED", started: false });
  });

  test("a redelivery keeps the status and says that it is one", () => {
    const draft = next(started(created()));
    release(draft, [], "test");
    const again = delivered(draft);
    expect(again.intent).toMatchObject({ attempt: 2, status: "IN_PROGRESS" });
    expect(types(again)).toEqual(["delivered"]);
    expect(again.events[0]?.details).toMatchObject({ redelivered: true });
  });

  test("what is held, paused, waiting, delayed, overdue or ended is not delivered", () => {
    const consumer = { id: "c", name: "c", explicitAck: true };
    expect(refusal(() => deliver(next(delivered(created())), consumer))).toBe("not_claimable");
    expect(refusal(() => deliver(created({ deliverAt: NOW + 1 }), consumer))).toBe("not_claimable");
    expect(refusal(() => deliver(next(created({ ttlMs: 5 }), 5), consumer))).toBe("not_claimable");
  });
});

describe("the fence", () => {
  test("only the current, open attempt may write", () => {
    const draft = next(started(created()));
    expect(refusal(() => requireOpenAttempt(draft, 1))).toBe("none");
    expect(refusal(() => requireOpenAttempt(draft, 0))).toBe("stale_attempt");
    expect(refusal(() => requireOpenAttempt(draft, 2))).toBe("stale_attempt");
    release(draft, [], "test");
    expect(refusal(() => requireOpenAttempt(draft, 1))).toBe("stale_attempt");
    const ended = next(created());
    cancel(ended, null);
    expect(refusal(() => requireOpenAttempt(ended, 0))).toBe("stale_attempt");
  });

  test("a stale attempt leaves one trace, one that never was leaves none", () => {
    const draft = next(started(created()));
    expect(auditStaleWrite(draft, 7, "done")).toBe(false);
    expect(auditStaleWrite(draft, 1, "done")).toBe(true);
    expect(auditStaleWrite(draft, 1, "done")).toBe(false);
    expect(types(draft)).toEqual(["stale_write_refused"]);
  });
});

describe("losing an attempt", () => {
  test("counts, interrupts what ran, and schedules redelivery", () => {
    const draft = next(started(created({ steps: [plan("a"), plan("b")] })));
    lose(draft, "lease_expired", LIMITS, "worker");
    expect(types(draft)).toEqual(["lost", "step_interrupted", "redelivery_scheduled"]);
    expect(draft.intent).toMatchObject({ strikes: 1, totalLosses: 1, consumerId: null, openSteps: [] });
    expect(draft.steps.get("a")).toMatchObject({ status: "interrupted", interrupted: true });
    expect(isClaimable(draft.intent)).toBe(true);
  });

  test("of nothing is nothing", () => {
    const draft = next(created());
    lose(draft, "lease_expired", LIMITS);
    expect(draft.events).toEqual([]);
  });

  test("without progress ends the intent at the cap, in the same decision", () => {
    let draft = created({ maxDeliveryAttempts: 3 });
    for (let i = 0; i < 3; i += 1) {
      draft = next(delivered(draft, true));
      lose(draft, "takeover", LIMITS);
    }
    expect(types(draft)).toEqual(["lost", "delivery_failed", "failed"]);
    expect(draft.outcome).toMatchObject({ status: "FAILED", code: "delivery_attempts_exhausted" });
  });

  test("with progress in between ends it only at the absolute cap", () => {
    let draft = created({ steps: [plan("a"), plan("b"), plan("c")], maxDeliveryAttempts: 2 });
    for (const key of ["a", "b"]) {
      draft = next(started(draft));
      done(draft, key);
      draft = next(draft);
      lose(draft, "takeover", { maxTotalLosses: 2 });
    }
    expect(draft.outcome).toMatchObject({ code: "delivery_attempts_exhausted" });
    expect(draft.intent.strikes).toBe(1);
  });

  test("asks a human, or fails, when the interrupted step says so", () => {
    const asking = next(started(created({ steps: [plan("a", { onInterrupt: "ask" })] })));
    lose(asking, "takeover", LIMITS);
    expect(asking.intent).toMatchObject({
      status: "WAITING",
      waitingReason: "WAITING_FOR_HUMAN",
      openSteps: ["a"],
    });
    const failing = next(started(created({ steps: [plan("a")], onInterrupt: "fail" })));
    lose(failing, "takeover", LIMITS);
    expect(failing.outcome).toMatchObject({ code: "step_interrupted" });
  });
});

describe("handing back", () => {
  test("is free at first and waits longer each time without progress", () => {
    let draft = created();
    const delays: (number | null)[] = [];
    for (let i = 0; i < 3; i += 1) {
      draft = next(delivered(draft));
      release(draft, [], "test");
      delays.push(draft.intent.availableAt === null ? null : draft.intent.availableAt - draft.now);
      draft = next(draft, 60_000);
      tick(draft, LIMITS);
    }
    expect(delays).toEqual([null, 400, 800]);
    expect(draft.intent.strikes).toBe(0);
  });

  test("un-begins what was not run, but a doubt of before remains", () => {
    const first = next(started(created({ steps: [plan("a")] })));
    release(first, ["a"], "test");
    expect(first.steps.get("a")).toMatchObject({ status: "planned", tries: 0 });
    let draft = next(started(created({ steps: [plan("a")] })));
    lose(draft, "takeover", LIMITS);
    draft = next(started(draft));
    release(draft, ["a"], "test");
    expect(draft.steps.get("a")).toMatchObject({ status: "interrupted", tries: 1 });
  });

  test("happens by itself at a step boundary while paused, but lets a handler without steps finish", () => {
    const draft = next(started(created({ steps: [plan("a"), plan("b")] })));
    expect(pause(draft, "test")).toBe("paused");
    expect(pause(draft, null)).toBe("unchanged");
    expect(draft.intent.consumerId).not.toBeNull();
    done(draft, "a");
    expect(draft.intent.consumerId).toBeNull();
    expect(isClaimable(draft.intent)).toBe(false);
    expect(unpause(draft)).toBe("unpaused");
    expect(unpause(draft)).toBe("unchanged");
    expect(isClaimable(draft.intent)).toBe(true);
    const plain = next(started(created()));
    pause(plain, null);
    expect(handBackIfPaused(plain)).toBe(false);
    expect(refusal(() => run(plain, "x"))).toBe("intent_paused");
  });
});

describe("an intent's end", () => {
  test("is the same answer when repeated with its attempt, and final otherwise", () => {
    const draft = next(started(created()));
    expect(resolve(draft, ending())).toBe("finished");
    expect(resolve(next(draft), ending())).toBe("replayed");
    expect(refusal(() => resolve(next(draft), ending({ result: json(2) })))).toBe("already_finished");
    expect(refusal(() => resolve(next(draft), ending({ attempt: 0 })))).toBe("stale_attempt");
    expect(refusal(() => pause(next(draft), null))).toBe("intent_terminal");
    expect(refusal(() => cancel(next(draft), null))).toBe("intent_terminal");
  });

  test("without an attempt needs an operator while an agent holds it; a cancel does not", () => {
    const open = () => next(started(created()));
    expect(refusal(() => resolve(open(), ending({ attempt: null })))).toBe("attempt_required");
    expect(resolve(next(started(created()), 0, OPERATOR), ending({ attempt: null }))).toBe("finished");
    expect(resolve(open(), ending({ attempt: null, status: "CANCELED", result: null }))).toBe("finished");
    expect(resolve(next(created()), ending({ attempt: null, holderIsLive: false }))).toBe("finished");
    expect(refusal(() => resolve(open(), ending({ attempt: 9 })))).toBe("stale_attempt");
  });

  test("lists the steps that were not done", () => {
    const draft = next(started(created({ steps: [plan("a"), plan("b")] })));
    resolve(draft, ending());
    expect(draft.events.at(-1)?.details).toMatchObject({ undone_steps: 2, undone: ["a", "b"] });
    expect(draft.steps.get("a")?.status).toBe("interrupted");
  });

  test("a retryable failure follows the policy until it is used up", () => {
    const retry = { maxRetries: 1, initialDelayMs: 1_000, factor: 2, maxDelayMs: 60_000 };
    const failure = {
      status: "FAILED",
      result: null,
      error: { code: "busy", message: "busy" },
      retryable: true,
    } as const;
    let draft = next(started(created({ retry })));
    expect(resolve(draft, ending(failure))).toBe("retry_scheduled");
    expect(draft.intent.availableAt).toBe(draft.now + 500);
    expect(nextDueAt(draft.intent)).toBe(draft.intent.availableAt);
    draft = next(draft, 500);
    expect(tick(draft, LIMITS)).toBe(true);
    draft = next(started(draft));
    expect(resolve(draft, ending({ ...failure, attempt: 2 }))).toBe("finished");
    expect(draft.outcome?.error).toMatchObject({ code: "busy", retryable: true });
    const soon = next(started(created({ retry })));
    resolve(soon, ending({ ...failure, retryAfterMs: 7 }));
    expect(soon.intent.availableAt).toBe(soon.now + 7);
    const none = next(started(created()));
    expect(resolve(none, ending({ ...failure, error: null }))).toBe("finished");
    expect(none.outcome?.error?.code).toBe("failed");
  });

  test("cancel repeats, and ends whoever holds it", () => {
    const draft = next(started(created()));
    expect(cancel(draft, "no need")).toBe("canceled");
    expect(draft.intent.consumerId).toBeNull();
    expect(cancel(next(draft), null)).toBe("replayed");
  });

  test("an operator's retry keeps done steps, runs failed ones again, and never lowers the attempt", () => {
    const draft = next(started(created({ steps: [plan("a"), plan("b")], ttlMs: 10 })));
    done(draft, "a");
    const late = next(draft, 10, SERVER);
    expect(tick(late, LIMITS)).toBe(true);
    expect(late.intent.status).toBe("TIMED_OUT");
    expect(tick(next(late), LIMITS)).toBe(false);
    const again = next(late);
    retry(again, { deadlineAt: null });
    expect(again.intent).toMatchObject({
      status: "SUBMITTED",
      attempt: 1,
      deadlineAt: null,
      stepsDone: 1,
      generation: 1,
    });
    expect(again.outcome).toBeNull();
    const other = next(late);
    retry(other, { deadlineAt: NOW + 99 });
    expect(other.intent.deadlineAt).toBe(NOW + 99);
    const canceled = next(created({ ttlMs: 50 }));
    cancel(canceled, null);
    expect(nextDueAt(canceled.intent)).toBeNull();
    const reopened = next(canceled, 5);
    retry(reopened, { deadlineAt: null });
    expect(reopened.intent.deadlineAt).toBe(NOW + 50);
    const broken = next(started(created({ steps: [plan("a")] })));
    recordFailed(broken, "a", { ...record(broken), error: { code: "x", message: "x" }, retryable: false });
    const mended = next(broken);
    retry(mended, { deadlineAt: null });
    expect(mended.steps.get("a")?.status).toBe("planned");
    const live = next(created());
    expect(refusal(() => retry(live, { deadlineAt: null }))).toBe("not_retryable");
  });
});

describe("time", () => {
  test("an attempt and a step that run too long are lost", () => {
    const slow = next(started(created({ attemptTimeoutMs: 50 })), 50, SERVER);
    expect(tick(slow, LIMITS)).toBe(true);
    expect(slow.events[0]?.details).toMatchObject({ reason: "attempt_timeout" });
    const step = next(started(created({ steps: [plan("a", { timeoutMs: 20 })] })), 20, SERVER);
    expect(nextDueAt(step.intent)).toBe(NOW + 20);
    tick(step, LIMITS);
    expect(step.events[0]?.details).toMatchObject({ reason: "step_timeout" });
  });

  test("a delay ends when it is over, and nothing happens before", () => {
    const draft = next(created({ deliverAt: NOW + 10 }));
    expect(tick(draft, LIMITS)).toBe(false);
    expect(tick(next(draft, 10), LIMITS)).toBe(true);
    expect(nextDueAt(created().intent)).toBeNull();
    // Of two limits the earlier one counts, whichever it is.
    expect(nextDueAt(created({ deliverAt: NOW + 10, deadlineAt: NOW + 5 }).intent)).toBe(NOW + 5);
    expect(nextDueAt(created({ deliverAt: NOW + 10, deadlineAt: NOW + 20 }).intent)).toBe(NOW + 10);
    expect(created({ deadlineAt: NOW + 5 }).intent.deadlineAt).toBe(NOW + 5);
  });
});

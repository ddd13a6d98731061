import { describe, expect, test } from "vitest";
import { lose } from "../../server/domain/decide/attempt.ts";
import { decideStep } from "../../server/domain/decide/doubt.ts";
import { decideTask } from "../../server/domain/decide/human.ts";
import { pause } from "../../server/domain/decide/operator.ts";
import { cancel } from "../../server/domain/decide/resolve.ts";
import {
  begin,
  recordDone,
  recordFailed,
  reportProgress,
  type StartInput,
  start,
} from "../../server/domain/decide/steps.ts";
import type { Draft } from "../../server/domain/draft.ts";
import { describeNext, nextDeclared, stepIdempotencyKey } from "../../server/domain/plan.ts";
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

const starting = (more: Partial<StartInput> = {}): StartInput => ({
  attempt: 1,
  ackOnly: false,
  beginNext: true,
  steps: null,
  force: false,
  stepsMax: 4,
  ...more,
});
const abc = () => created({ steps: [plan("a"), plan("b"), plan("c")] });
const failed = (draft: Draft, key: string, retryable: boolean, completeIntent = true) =>
  recordFailed(draft, key, {
    ...record(draft, { completeIntent }),
    error: { code: "x", message: "x", details: 1 },
    retryable,
  });

describe("start", () => {
  test("begins the next step once; saying it again begins nothing more", () => {
    const draft = started(abc());
    expect(types(draft)).toEqual(["in_progress", "step_running"]);
    const again = next(draft);
    start(again, starting());
    expect(again.events).toEqual([]);
  });

  test("may only acknowledge, or leave the step alone", () => {
    const draft = next(delivered(abc(), true));
    start(draft, starting({ ackOnly: true }));
    expect(types(draft)).toEqual(["acknowledged"]);
    start(draft, starting({ ackOnly: true }));
    start(draft, starting({ beginNext: false }));
    expect(types(draft)).toEqual(["acknowledged", "in_progress"]);
    for (let times = 0; times < 2; times += 1) start(draft, starting());
    expect(types(draft)).toEqual(["acknowledged", "in_progress", "step_running"]);
  });

  test("is refused while paused", () => {
    const draft = next(delivered(abc(), true));
    draft.intent.paused = true;
    expect(refusal(() => start(draft, starting()))).toBe("intent_paused");
  });

  test("takes the agent's plan when the sender gave none, and refuses a changed one unless forced", () => {
    const draft = started(created(), [plan("a"), plan("b")]);
    expect(draft.intent).toMatchObject({ planBy: "agent", stepsTotal: 2 });
    done(draft, "a");
    const again = next(draft);
    start(again, starting({ steps: [plan("a"), plan("b")] }));
    start(again, starting({ steps: [] }));
    expect(refusal(() => start(again, starting({ steps: [plan("a"), plan("z")] })))).toBe("plan_changed");
    expect(refusal(() => start(again, starting({ steps: [plan("a")] })))).toBe("plan_changed");
    start(again, starting({ steps: [plan("a"), plan("z")], force: true }));
    expect(again.intent).toMatchObject({ stepsTotal: 2, stepsDone: 1 });
    expect(again.steps.get("b")?.status).toBe("superseded");
    expect(nextDeclared(again)?.key).toBe("z");
    start(again, starting({ steps: [plan("a"), plan("b")], force: true }));
    expect(again.steps.get("b")).toMatchObject({ status: "planned", tries: 0 });
    expect(
      refusal(() =>
        start(
          next(delivered(created(), true)),
          starting({ steps: [1, 2, 3, 4, 5].map((n) => plan(`${n}`)) }),
        ),
      ),
    ).toBe("too_many_steps");
  });
});

describe("begin", () => {
  test("hands out a stable key, and begins a running step of the same attempt only once", () => {
    const draft = started(created());
    const first = run(draft, "x");
    expect(run(draft, "x")).toBe(first);
    expect(draft.intent.openSteps).toEqual(["x"]);
    expect(stepIdempotencyKey("i", "x", 0)).not.toBe(stepIdempotencyKey("i", "x", 1));
    expect(stepIdempotencyKey("i", "x", 0)).toMatch(/^pdr-[0-9a-f]{32}$/);
  });

  test("keeps what the agent says about the step", () => {
    const draft = started(created());
    const retry = { maxRetries: 1, initialDelayMs: 1, factor: 1, maxDelayMs: 1 };
    const step = begin(draft, "x", { input: json([1]), onInterrupt: "ask", timeoutMs: 9, retry });
    expect(step).toMatchObject({ onInterrupt: "ask", timeoutMs: 9, retry, input: { text: "[1]" } });
    expect(draft.intent.stepDeadline).toBe(NOW + 9);
    begin(draft, "y", { timeoutMs: 5 });
    expect(draft.intent.stepDeadline).toBe(NOW + 5);
    begin(draft, "z", { timeoutMs: 7 });
    expect(draft.intent.stepDeadline).toBe(NOW + 5);
  });

  test("of a done step returns it; of a superseded one begins a new generation", () => {
    const draft = started(created(), [plan("a"), plan("b")]);
    done(draft, "a");
    expect(run(draft, "a")).toMatchObject({ status: "done", tries: 1 });
    start(draft, starting({ steps: [plan("c")], force: true }));
    draft.intent.generation = 3;
    expect(run(next(draft), "b").generation).toBe(3);
    expect(done(next(draft), "b").generation).toBe(3);
  });

  test("is bounded, and is work: an acknowledged intent is in progress by it", () => {
    const draft = next(delivered(created(), true));
    begin(draft, "x", { stepsMax: 1 });
    expect(types(draft)).toEqual(["in_progress", "step_running"]);
    expect(refusal(() => begin(draft, "y", { stepsMax: 1 }))).toBe("too_many_steps");
  });

  test("of an interrupted step says so until it is done", () => {
    let draft = next(started(abc()));
    lose(draft, "takeover", LIMITS);
    draft = started(draft);
    expect(draft.events.at(-1)?.details).toMatchObject({ key: "a", interrupted: true, tries: 2 });
    expect(describeNext(draft.intent, nextDeclared(draft))?.interrupted).toBe(true);
    done(draft, "a");
    expect(draft.steps.get("a")?.interrupted).toBe(false);
  });
});

describe("done", () => {
  test("the first result wins, from any attempt; the last declared step completes the intent", () => {
    const draft = next(started(abc()));
    done(draft, "a", "first");
    expect(done(draft, "a", "second").result?.text).toBe('"first"');
    done(draft, "c");
    expect(draft.intent).toMatchObject({ stepsDone: 2, planCursor: 1, status: "IN_PROGRESS" });
    done(draft, "b");
    expect(draft.outcome).toMatchObject({ status: "COMPLETED" });
    expect(describeNext(draft.intent, nextDeclared(draft))).toBeNull();
  });

  test("works without begin, and for steps only the agent knows", () => {
    const draft = next(delivered(created()));
    expect(done(draft, "x")).toMatchObject({ tries: 1, status: "done", startedAt: null });
    expect(draft.intent.status).toBe("IN_PROGRESS");
  });

  test("out of order, with the rest of the plan not loaded, leaves the cursor where it is", () => {
    const draft = next(started(abc()));
    draft.steps.delete("a");
    draft.steps.delete("b");
    draft.intent.openSteps = [];
    done(draft, "c");
    expect(draft.intent).toMatchObject({ stepsDone: 1, planCursor: 0 });
  });

  test("may leave the intent open", () => {
    const draft = next(started(created({ steps: [plan("a")] })));
    recordDone(draft, "a", json(1), record(draft, { completeIntent: false }));
    expect(draft.intent.status).toBe("IN_PROGRESS");
  });

  test("is progress", () => {
    let draft = next(started(abc()));
    lose(draft, "takeover", LIMITS);
    draft = next(started(draft));
    expect(draft.intent.strikes).toBe(1);
    done(draft, "a");
    expect(draft.intent).toMatchObject({ strikes: 0, totalLosses: 1, releases: 0 });
  });
});

test("a plan that is replaced while one of its steps runs leaves nothing of it running", () => {
  const draft = next(started(created(), [plan("a", { timeoutMs: 50 }), plan("b")]));
  expect(draft.intent).toMatchObject({ openSteps: ["a"], stepDeadline: NOW + 50 });
  start(draft, starting({ steps: [plan("c")], force: true }));
  expect(draft.steps.get("a")?.status).toBe("superseded");
  expect(draft.intent).toMatchObject({ openSteps: [], stepDeadline: null });
});

test("an answer clears what counted against the intent, also when it fails it", () => {
  const draft = next(started(created({ steps: [plan("a")] })));
  lose(draft, "takeover", LIMITS);
  decideStep(draft, "a", { kind: "fail", error: { code: "no", message: "no" } });
  expect(draft.intent).toMatchObject({ status: "FAILED", strikes: 0 });
});

test("an operator's answer may be the plan's last result, also while nobody waits for it", () => {
  const draft = next(started(created({ steps: [plan("a")] })));
  lose(draft, "takeover", LIMITS);
  decideStep(draft, "a", { kind: "done", result: json(7) });
  expect(draft.intent.status).toBe("COMPLETED");
  expect(draft.outcome?.result?.text).toBe("7");
});

describe("failed", () => {
  test("runs again with the same key while it may", () => {
    const retry = { maxRetries: 1, initialDelayMs: 1, factor: 1, maxDelayMs: 1 };
    const draft = next(started(created({ steps: [plan("a", { retry })] })));
    expect(failed(draft, "a", true)).toMatchObject({ status: "failed" });
    expect(draft.steps.get("a")?.error?.parse()).toMatchObject({ final: false });
    expect(nextDeclared(draft)?.key).toBe("a");
    run(draft, "a");
    failed(draft, "a", true);
    expect(draft.outcome).toMatchObject({ status: "FAILED", code: "x" });
  });

  test("said again after a lost answer counts once; from an agent that never begins it is another try", () => {
    const retry = { maxRetries: 5, initialDelayMs: 1, factor: 1, maxDelayMs: 1 };
    const draft = next(started(created({ steps: [plan("a", { retry })] })));
    failed(draft, "a", true);
    const again = next(draft);
    expect(failed(again, "a", true)).toMatchObject({ status: "failed", tries: 1 });
    expect(again.events).toEqual([]);
    failed(again, "a", false);
    expect(types(again)).toContain("step_failed");
    const silent = next(delivered(created({ steps: [plan("a", { retry })] })));
    failed(silent, "a", true);
    expect(failed(silent, "a", true).tries).toBe(2);
  });

  test("without a policy of its own it follows the intent's", () => {
    const retry = { maxRetries: 1, initialDelayMs: 100, factor: 1, maxDelayMs: 100 };
    const draft = next(started(created({ steps: [plan("a")], retry })));
    failed(draft, "a", true);
    expect(types(draft)).toEqual(["step_failed", "retry_scheduled"]);
    expect(draft.intent.availableAt).toBe(NOW + 100);
  });

  test("that only its agent knows leaves the intent alone, and hands it back when paused", () => {
    const draft = next(started(created()));
    run(draft, "x");
    failed(draft, "x", false);
    expect(draft.intent.status).toBe("IN_PROGRESS");
    run(draft, "y");
    pause(draft, null);
    failed(draft, "y", true, false);
    expect(draft.intent.consumerId).toBeNull();
  });

  test("of a done step is refused; details stay with the failure", () => {
    const draft = next(started(abc()));
    done(draft, "a");
    expect(refusal(() => failed(draft, "a", true))).toBe("step_done");
    recordFailed(draft, "b", { ...record(draft), error: { code: "y", message: "y" }, retryable: false });
    expect(draft.outcome?.error).toMatchObject({ code: "y", details: { step: "b" } });
  });
});

describe("a step in doubt", () => {
  const asking = (steps = [plan("a", { onInterrupt: "ask" as const }), plan("b")]): Draft => {
    const draft = next(started(created({ steps })));
    lose(draft, "takeover", LIMITS);
    return next(draft);
  };

  test("is no task that somebody may decide: the question is another", () => {
    const decide = (step: string | null) => () =>
      decideTask(next(asking()), { step, outcome: "yes", comment: null, data: null });
    expect(decide(null)).toThrow('step "a" is in doubt');
    expect(decide("a")).toThrow('step "a" is in doubt');
    expect(decide("b")).toThrow('step "b" waits for no person');
  });

  test("is settled as done, with the result somebody found", () => {
    const draft = asking();
    decideStep(draft, "a", { kind: "done", result: json("paid") });
    expect(types(draft)).toEqual(["step_decided", "step_done", "resumed"]);
    expect(draft.intent).toMatchObject({ status: "IN_PROGRESS", stepsDone: 1, strikes: 0 });
    expect(decideStep(draft, "a", { kind: "done", result: json("paid") }).status).toBe("done");
    expect(refusal(() => decideStep(draft, "a", { kind: "retry" }))).toBe("step_not_in_doubt");
  });

  test("completes the intent when it was the last", () => {
    const draft = asking([plan("a", { onInterrupt: "ask" })]);
    decideStep(draft, "a", { kind: "done", result: json(1) });
    expect(draft.outcome).toMatchObject({ status: "COMPLETED" });
  });

  test("is run again, in doubt no longer; or fails the intent", () => {
    const draft = asking();
    decideStep(draft, "a", { kind: "retry" });
    expect(draft.steps.get("a")).toMatchObject({ status: "planned", interrupted: false });
    const failing = asking();
    decideStep(failing, "a", { kind: "fail", error: { code: "no", message: "no" } });
    expect(failing.outcome).toMatchObject({ status: "FAILED", code: "no" });
    expect(refusal(() => decideStep(next(failing), "a", { kind: "retry" }))).toBe("intent_terminal");
  });

  test("of several, the last answer lets the intent go on", () => {
    const draft = next(started(created()));
    begin(draft, "x", { onInterrupt: "ask" });
    begin(draft, "y", { onInterrupt: "ask" });
    lose(draft, "takeover", LIMITS);
    const answer = next(draft);
    decideStep(answer, "x", { kind: "retry" });
    expect(answer.intent.status).toBe("WAITING");
    decideStep(answer, "y", { kind: "retry" });
    expect(answer.intent.status).toBe("IN_PROGRESS");
  });

  test("may be settled before anybody was asked; an unknown one may not", () => {
    const draft = next(started(abc()));
    lose(draft, "takeover", LIMITS);
    decideStep(draft, "a", { kind: "done", result: json(1) });
    expect(draft.steps.get("a")?.status).toBe("done");
    expect(refusal(() => decideStep(draft, "nope", { kind: "retry" }))).toBe("step_not_found");
  });

  test("ends with the intent", () => {
    const draft = asking();
    cancel(draft, null);
    expect(draft.intent.openSteps).toEqual([]);
  });
});

test("progress says only what was given", () => {
  const draft = next(started(created()));
  const nothing = { attempt: 1, message: null, percent: null, data: null, output: null };
  reportProgress(draft, { ...nothing, message: "half", percent: 50, data: json(1) });
  reportProgress(draft, nothing);
  reportProgress(draft, { ...nothing, output: { text: "so ", offset: 0 } });
  reportProgress(draft, { ...nothing, output: { text: "far", offset: null } });
  expect(draft.events.map((event) => event.details)).toEqual([
    { message: "half", percent: 50, data: json(1) },
    {},
    { output: "so ", output_offset: 0 },
    { output: "far" },
  ]);
});

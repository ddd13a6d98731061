// Waits, people's tasks and signals as decisions; waits as they are written down.
import { describe, expect, test } from "vitest";
import { create } from "../../server/domain/decide/create.ts";
import { decideTask } from "../../server/domain/decide/human.ts";
import { pause, retry, tick, unpause } from "../../server/domain/decide/operator.ts";
import { cancel } from "../../server/domain/decide/resolve.ts";
import { restore } from "../../server/domain/decide/restore.ts";
import { signal } from "../../server/domain/decide/signals.ts";
import { begin } from "../../server/domain/decide/steps.ts";
import { park, wake } from "../../server/domain/decide/waits.ts";
import type { Draft } from "../../server/domain/draft.ts";
import { type FoldedStep, foldLog } from "../../server/domain/fold.ts";
import { checkDecision, type HumanTask } from "../../server/domain/human-task.ts";
import { SERVER } from "../../server/domain/intent.ts";
import { RawJson } from "../../server/domain/raw-json.ts";
import { nextDueAt } from "../../server/domain/schedule.ts";
import { beginWait, type Wait, type WaitRequest, waitDueAt } from "../../server/domain/wait.ts";
import { waitFromJson, waitToJson } from "../../server/domain/wait-json.ts";
import { created, delivered, LIMITS, NOW, newIntent, next, plan } from "./builders.ts";

const TASK: HumanTask = {
  title: "Look",
  description: null,
  taskType: null,
  allowedOutcomes: ["yes", "no"],
  requiredComment: false,
  assignees: [],
  formSchema: null,
  remindAfterMs: null,
  remindIntervalMs: null,
  maxReminders: 0,
  escalateTo: null,
};
const FULL_TASK: HumanTask = {
  ...TASK,
  description: "all of it",
  taskType: "review",
  assignees: ["ann"],
  formSchema: { required: ["n"] },
  remindAfterMs: 1_000,
  remindIntervalMs: 500,
  maxReminders: 2,
  escalateTo: "boss",
};

const one = (key: string, wait: WaitRequest, draft: Draft, more: Partial<Parameters<typeof park>[2]> = {}) =>
  park(draft, key, {
    attempt: draft.intent.attempt,
    wait,
    stepsMax: 100,
    completeIntent: true,
    lookUp: () => undefined,
    ...more,
  });
const SIGNAL: WaitRequest = { kind: "signal", name: "go", timeoutMs: null };
const human = (task: HumanTask, timeoutMs: number | null = null): WaitRequest => ({
  kind: "human",
  task,
  timeoutMs,
});

function parked(wait: WaitRequest, from = delivered(created())): Draft {
  const draft = next(from);
  one("w", wait, draft);
  return draft;
}
const types = (draft: Draft): string[] => draft.events.map((event) => event.type.slice("intent.".length));

describe("a wait as it is written down", () => {
  const WAITS: Wait[] = [
    { kind: "signal", name: "go", timeoutAt: null },
    { kind: "signal", name: "go", timeoutAt: NOW, keepOpen: true },
    { kind: "time", until: NOW },
    { kind: "intents", ids: ["a"], timeoutAt: null },
    { kind: "intents", ids: ["a", "b"], timeoutAt: NOW + 1 },
    {
      kind: "human",
      task: TASK,
      timeoutAt: null,
      assignedAt: NOW,
      remindAt: null,
      reminders: 0,
      escalated: false,
      ends: false,
    },
    {
      kind: "human",
      task: FULL_TASK,
      timeoutAt: NOW,
      assignedAt: NOW,
      remindAt: NOW + 5,
      reminders: 1,
      escalated: true,
      ends: true,
    },
  ];
  test.each(WAITS)("reads back as it was: $kind $timeoutAt", (wait) => {
    expect(waitFromJson(JSON.parse(JSON.stringify(waitToJson(wait))))).toEqual(wait);
  });
  test("what cannot be read is no time at all", () => {
    expect(waitFromJson({})).toEqual({ kind: "time", until: 0 });
    expect(waitFromJson({ human_task: waitToJson(WAITS[5] as Wait).human_task })).toMatchObject({
      assignedAt: 0,
    });
  });
});

test("relative times become absolute once, when the wait begins", () => {
  expect(beginWait({ kind: "time", until: null, delayMs: 50 }, NOW)).toEqual({
    kind: "time",
    until: NOW + 50,
  });
  expect(beginWait({ kind: "time", until: null, delayMs: null }, NOW)).toEqual({ kind: "time", until: NOW });
  expect(beginWait({ kind: "time", until: 7, delayMs: null }, NOW)).toEqual({ kind: "time", until: 7 });
  expect(beginWait({ kind: "intents", ids: ["a"], timeoutMs: 9 }, NOW)).toMatchObject({ timeoutAt: NOW + 9 });
});

test("a wait is due at its timeout or at its next reminder, whichever is first", () => {
  const due = (timeoutMs: number | null, remindAfterMs: number | null) =>
    waitDueAt(beginWait(human({ ...TASK, remindAfterMs, maxReminders: 1 }, timeoutMs), NOW));
  expect(due(null, null)).toBeNull();
  expect(due(10, null)).toBe(NOW + 10);
  expect(due(null, 20)).toBe(NOW + 20);
  expect(due(10, 20)).toBe(NOW + 10);
  expect(due(30, 20)).toBe(NOW + 20);
});

describe("a person's answer", () => {
  const form = (schema: Record<string, unknown>, data: unknown) => {
    try {
      checkDecision({ ...TASK, formSchema: schema }, { outcome: "yes", comment: null, data });
      return [];
    } catch (error) {
      return (error as { details: { errors: { pointer: string }[] } }).details.errors.map((at) => at.pointer);
    }
  };
  test("is one of the allowed ones, with a comment where one is asked for", () => {
    expect(() => checkDecision(TASK, { outcome: "maybe", comment: null, data: undefined })).toThrow(
      "must be one of",
    );
    const strict = { ...TASK, requiredComment: true };
    expect(() => checkDecision(strict, { outcome: "yes", comment: " ", data: undefined })).toThrow(
      "asks for a comment",
    );
    expect(() => checkDecision(strict, { outcome: "yes", comment: "ok", data: undefined })).not.toThrow();
  });
  test("fits the form", () => {
    expect(form({ required: ["n", 7] }, undefined)).toEqual(["/task_result/data"]);
    expect(form({ properties: {} }, null)).toEqual([]);
    expect(form({}, [1])).toEqual(["/task_result/data"]);
    expect(form({ required: ["n"] }, {})).toEqual(["/task_result/data/n"]);
    expect(form({ properties: 7 }, {})).toEqual([]);
    expect(form({ properties: { a: true, b: { type: "string" } } }, { a: 1 })).toEqual([]);
  });
  test.each([
    ["object", {}, 1],
    ["array", [], {}],
    ["integer", 1, 1.5],
    ["null", null, 0],
    ["string", "x", 1],
  ])("has members of the type %s", (type, good, bad) => {
    expect(form({ properties: { a: { type } } }, { a: good })).toEqual([]);
    expect(form({ properties: { a: { type } } }, { a: bad })).toEqual(["/task_result/data/a"]);
  });
  test("has members of one of several types, or of a list", () => {
    expect(form({ properties: { a: { type: ["string", "null"] } } }, { a: null })).toEqual([]);
    expect(form({ properties: { a: { enum: [1, "x"] } } }, { a: "x" })).toEqual([]);
    expect(form({ properties: { a: { enum: [1, "x"] } } }, { a: 2 })).toEqual(["/task_result/data/a"]);
  });

  const decision = (outcome: string, step: string | null = null) => ({
    step,
    outcome,
    comment: null,
    data: null,
  });
  test("settles the step that is named, and another is no task", () => {
    const draft = next(parked(human(TASK)));
    expect(() => decideTask(draft, decision("yes", "other"))).toThrow('step "other" waits for no person');
    expect(decideTask(draft, decision("yes", "w"))).toMatchObject({ applied: true });
    expect(decideTask(next(draft), decision("yes", "w"))).toMatchObject({ applied: false });
    expect(() => decideTask(next(draft), decision("no"))).toThrow("decided already: yes");
  });
  test("to the last of several tasks stands", () => {
    const first = next(parked(human(TASK)));
    decideTask(first, decision("yes"));
    const second = parked(human(TASK), delivered(first));
    // The step of the first is done: it is another one that waits.
    expect(second.steps.get("w")?.status).toBe("done");
    const other = next(delivered(first));
    one("v", human(TASK), other);
    const decided = next(other);
    decideTask(decided, decision("no"));
    expect(decideTask(next(decided), decision("no")).step.key).toBe("v");
  });
});

describe("time", () => {
  test("ends a wait that is asked for too late at once", () => {
    const draft = next(delivered(created()));
    const step = one("w", { kind: "signal", name: "go", timeoutMs: 0 }, draft);
    expect(step).toMatchObject({ status: "failed" });
    expect(draft.intent.status).toBe("IN_PROGRESS");
  });
  test("takes a paused intent back also when the wait is in vain at once", () => {
    const paused = next(delivered(created()));
    pause(paused, null);
    const draft = next(paused);
    one("w", { kind: "signal", name: "go", timeoutMs: 0 }, draft);
    expect(types(draft)).toEqual(["step_failed", "released"]);
    expect(draft.intent.consumerId).toBeNull();
  });
  test("fails a plan whose step is waited for in vain, unless its agent wants the last word", () => {
    const of = (completeIntent: boolean) => {
      const draft = next(delivered(created({ steps: [plan("w")] })));
      one("w", { kind: "signal", name: "go", timeoutMs: 10 }, draft, { completeIntent });
      const later = next(draft, 20);
      expect(tick(later, LIMITS)).toBe(true);
      return later.intent.status;
    };
    expect(of(true)).toBe("FAILED");
    expect(of(false)).toBe("IN_PROGRESS");
  });
  test("that has not come changes nothing", () => {
    const draft = next(parked({ kind: "time", until: NOW + 100, delayMs: null }), 50);
    expect(tick(draft, LIMITS)).toBe(false);
    expect(tick(next(parked(SIGNAL), 50), LIMITS)).toBe(false);
    expect(nextDueAt(draft.intent)).toBe(NOW + 100);
  });
  test("reminds as often as asked, then tells somebody else, and never again", () => {
    let draft = parked(human(FULL_TASK));
    const told: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      draft = next(draft, 1_000);
      tick(draft, LIMITS);
      told.push(...types(draft));
    }
    expect(told).toEqual(["reminder", "reminder", "escalated"]);
    expect(draft.intent.wakeAt).toBeNull();
  });
  test("reminds again after the first interval where no other is given, and stops where nobody else is to be told", () => {
    const draft = next(
      parked(human({ ...FULL_TASK, remindIntervalMs: null, maxReminders: 2, escalateTo: null })),
      1_000,
    );
    tick(draft, LIMITS);
    expect(draft.intent.wakeAt).toBe(draft.now + 1_000);
    const last = next(draft, 1_000);
    tick(last, LIMITS);
    expect(last.intent.wakeAt).toBeNull();
  });
});

test("a final failure is replayed, another is waited for again", () => {
  const vain = next(parked({ kind: "signal", name: "go", timeoutMs: 10 }), 20);
  tick(vain, LIMITS);
  expect(one("w", SIGNAL, next(delivered(vain)))).toMatchObject({ status: "failed" });
  const draft = next(delivered(created()));
  begin(draft, "w", {});
  const step = draft.steps.get("w");
  if (step !== undefined) Object.assign(step, { status: "failed", error: null });
  draft.intent.openSteps = [];
  expect(one("w", SIGNAL, draft)).toMatchObject({ status: "waiting" });
});

test("the first wait for the same thing counts, one for another thing is another", () => {
  const again = (first: WaitRequest, second: WaitRequest) => {
    const gone = next(parked(first));
    cancel(gone, null);
    const back = next(gone);
    retry(back, { deadlineAt: null });
    const draft = next(delivered(back), 5);
    const wait = draft.steps.get("w")?.wait;
    one("w", second, draft);
    return draft.steps.get("w")?.wait === wait;
  };
  const children = (...ids: string[]): WaitRequest => ({ kind: "intents", ids, timeoutMs: null });
  const sleep: WaitRequest = { kind: "time", until: null, delayMs: 100 };
  expect(again(SIGNAL, { ...SIGNAL, timeoutMs: 9 })).toBe(true);
  expect(again(SIGNAL, { ...SIGNAL, name: "other" })).toBe(false);
  expect(again(SIGNAL, sleep)).toBe(false);
  expect(again(children("a", "b"), children("a", "b"))).toBe(true);
  expect(again(children("a", "b"), children("a"))).toBe(false);
  expect(again(children("a"), SIGNAL)).toBe(false);
  expect(again(sleep, { ...sleep, delayMs: 7 })).toBe(true);
  expect(again(sleep, human(TASK))).toBe(false);
});

test("a running step may turn into a wait", () => {
  const draft = next(delivered(created()));
  begin(draft, "w", {});
  expect(one("w", SIGNAL, draft)).toMatchObject({ status: "waiting", tries: 1 });
  expect(types(draft)).not.toContain("step_interrupted");
});

test("several steps that run are all named when a wait is refused", () => {
  const draft = next(delivered(created()));
  begin(draft, "a", {});
  begin(draft, "b", {});
  expect(() => one("w", SIGNAL, draft)).toThrow("2 steps are still running");
});

test("a signal wakes the wait of its name alone", () => {
  const draft = next(parked(SIGNAL));
  expect(signal(draft, { name: "other", data: RawJson.of(1), unread: 0 }).takenBy).toBeNull();
  expect(signal(draft, { name: "go", data: RawJson.of(1), unread: 0 }).takenBy).toBe("w");
  expect(draft.intent).toMatchObject({ status: "IN_PROGRESS", wakeAt: null, openSteps: [] });
  expect(() => signal(draft, { name: "go", data: RawJson.of(1), unread: 1_000 })).toThrow("unread");
});

test("an intent in a paused session is born paused", () => {
  const draft = create(newIntent(), SERVER, NOW, true);
  expect(draft.intent).toMatchObject({ paused: true, pausedBy: ["session"] });
  expect(unpause(next(draft), "intent")).toBe("unchanged");
  expect(pause(next(draft), null, "session")).toBe("unchanged");
});

/** Goes back to the end of what happened so far. */
function restoredToItsEnd(...drafts: readonly Draft[]): Draft {
  const entries = drafts
    .flatMap((draft) => draft.events)
    .map((event) => ({
      ...event,
      details: event.details === null ? null : JSON.parse(JSON.stringify(event.details)),
      result:
        event.type === "intent.step_done" ? RawJson.of((event.details as { result?: unknown }).result) : null,
    }));
  const folded = foldLog(entries);
  const draft = next(drafts.at(-1) as Draft);
  restore(draft, { to: entries.length, name: "end", past: folded, present: folded });
  return draft;
}

test("a person's task that ended undecided is assigned again by a restore, a decided one is not", () => {
  const born = create(newIntent({ humanTask: TASK, parentId: "p" }), SERVER, NOW);
  const gone = next(born);
  cancel(gone, null);
  const back = restoredToItsEnd(born, gone);
  expect(back.intent.status).toBe("WAITING");
  const decided = next(back);
  decideTask(decided, { step: null, outcome: "yes", comment: "ok", data: RawJson.of({ n: 1 }) });
  expect(decided.intent.status).toBe("COMPLETED");
  expect(restoredToItsEnd(born, gone, back, decided).intent.status).toBe("COMPLETED");
  expect(() => retry(next(decided), { deadlineAt: null })).toThrow();
});

test("a person's task that a restore leaves nothing of is assigned as another one", () => {
  const born = create(newIntent({ humanTask: TASK }), SERVER, NOW);
  const back = next(born);
  const step = { ...born.steps.get("human_task"), position: null, seq: null, error: null, signal: null };
  const present = { generation: 0, planBy: null, steps: new Map([["human_task", step as FoldedStep]]) };
  restore(back, { to: 0, name: null, past: foldLog([]), present });
  expect(back.steps.get("human_task")).toMatchObject({ status: "waiting", generation: 1 });
});

test("a restore of an overdue intent clears its deadline", () => {
  const draft = next(created({ ttlMs: 10 }), 100);
  const folded = foldLog([]);
  restore(draft, { to: 0, name: null, past: folded, present: folded });
  expect(draft.intent.deadlineAt).toBeNull();
});

test("a restore leaves alone what the log does not know", () => {
  const draft = next(delivered(created()));
  begin(draft, "a", {});
  const back = next(draft);
  const folded = foldLog([]);
  expect(restore(back, { to: 0, name: null, past: folded, present: folded })).toMatchObject({
    superseded: [],
  });
  expect(back.steps.get("a")?.status).toBe("interrupted");
});

test("what wakes a step wakes its intent with it", () => {
  const draft = next(parked({ kind: "intents", ids: ["a"], timeoutMs: null }));
  wake(draft, "w", { result: RawJson.of([]) });
  expect(types(draft)).toEqual(["step_done", "resumed"]);
});

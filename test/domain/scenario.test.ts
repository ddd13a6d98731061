// Compiling scenarios, and leading an intent through one: pure decisions, step by step.
import { describe, expect, test } from "vitest";
import { conduct, failureOfEnds } from "../../server/domain/decide/conduct.ts";
import { decideTask } from "../../server/domain/decide/human.ts";
import { failWait, wake } from "../../server/domain/decide/waits.ts";
import { type Draft, editStep } from "../../server/domain/draft.ts";
import type { HumanTask } from "../../server/domain/human-task.ts";
import { RawJson } from "../../server/domain/raw-json.ts";
import { type Bundle, type BundleStep, compile, type Scenario } from "../../server/domain/scenario.ts";
import { isClaimable, isConductible, nextDueAt } from "../../server/domain/schedule.ts";
import { created, next, plan } from "./builders.ts";

const NONE = { remindAfterMs: null, remindIntervalMs: null, maxReminders: null, escalateTo: null };
const TASK: HumanTask = {
  title: "May it?",
  description: null,
  taskType: null,
  allowedOutcomes: ["approved", "rejected"],
  requiredComment: false,
  assignees: [],
  formSchema: null,
  remindAfterMs: null,
  remindIntervalMs: null,
  maxReminders: 0,
  escalateTo: null,
};

const step = (key: string, more: Partial<BundleStep> = {}): BundleStep => ({
  ...NONE,
  key,
  toolId: "tool.agent.task.v1",
  assignedTo: "worker",
  requiresApproval: false,
  task: null,
  deadlineMs: null,
  input: undefined,
  onSuccess: null,
  onFailure: null,
  ...more,
});
const bundle = (more: Partial<Bundle> = {}): Bundle => ({
  ...NONE,
  id: "s.v1",
  title: "The title",
  intentType: "t.v1",
  agents: [{ role: "worker", address: "worker-agent" }],
  humans: [{ role: "boss", contact: "boss@example.com" }],
  steps: [],
  entryStep: null,
  task: null,
  maxDeliveryAttempts: 3,
  ...more,
});
const compiled = (more: Partial<Bundle> = {}): Scenario => {
  const { scenario, problems } = compile(bundle(more), "acme/prod");
  expect(problems).toEqual([]);
  return scenario;
};
const taskOf = (more: Partial<Bundle>): HumanTask => {
  const [only] = compiled(more).steps;
  if (only?.kind !== "human") throw new Error("not a person's step");
  return only.task;
};

describe("compiling", () => {
  test("addresses are those of roles, or stand for themselves, completed by the sender's namespace", () => {
    const { steps } = compiled({ steps: [step("a"), step("b", { assignedTo: "agent://other/dev/x" })] });
    expect(steps).toMatchObject([
      {
        key: "a",
        address: { canonical: "acme/prod/worker-agent" },
        addressAsSent: "worker-agent",
        onSuccess: "b",
      },
      { key: "b", address: { canonical: "other/dev/x" }, onSuccess: null },
    ]);
  });

  test("a person's step is one that is assigned to a person, wants approval, has a task or is a sign-off", () => {
    const asked: Partial<BundleStep>[] = [
      { assignedTo: "boss" },
      { assignedTo: null, requiresApproval: true },
      { assignedTo: null, task: TASK },
      { assignedTo: null, toolId: "tool.approval.human_signoff" },
    ];
    for (const more of asked) expect(compiled({ steps: [step("a", more)] }).steps[0]?.kind).toBe("human");
  });

  test("what a task does not say comes from its step, the intent, the scenario", () => {
    const asked = step("a", { assignedTo: "boss" });
    expect(taskOf({ steps: [asked] })).toMatchObject({
      title: "The title",
      taskType: "approval",
      allowedOutcomes: ["approved", "rejected"],
      assignees: ["boss@example.com"],
      maxReminders: 0,
    });
    expect(taskOf({ title: null, steps: [asked] }).title).toBe("a");
    expect(taskOf({ humans: [{ role: "boss", contact: null }], steps: [asked] }).assignees).toEqual([]);
    const own = { ...TASK, assignees: ["ann"], taskType: "review" };
    expect(taskOf({ steps: [{ ...asked, task: own }] })).toMatchObject({
      assignees: ["ann"],
      taskType: "review",
    });
    const intents = { remindAfterMs: 1, remindIntervalMs: 2, escalateTo: "chief" };
    expect(taskOf({ ...intents, steps: [asked] })).toMatchObject({ ...intents, maxReminders: 1 });
    const steps = { ...asked, remindAfterMs: 7, maxReminders: 4 };
    expect(taskOf({ ...intents, steps: [steps] })).toMatchObject({
      remindAfterMs: 7,
      maxReminders: 4,
      escalateTo: null,
    });
    const tasks = { ...asked, task: { ...TASK, remindAfterMs: 9, maxReminders: 2 } };
    expect(taskOf({ ...intents, steps: [tasks] })).toMatchObject({ remindAfterMs: 9, maxReminders: 2 });
  });

  test("without steps the only agent, or the person who is asked, does all of it", () => {
    expect(compiled().steps).toMatchObject([{ kind: "agent", key: "task" }]);
    expect(compiled({ task: TASK }).steps).toMatchObject([{ kind: "human", key: "human_task" }]);
    const { problems } = compile(bundle({ agents: [] }), "acme/prod");
    expect(problems).toMatchObject([{ pointer: "/workflow/steps" }]);
    const bad = bundle({ agents: [{ role: "worker", address: "not one" }] });
    expect(compile(bad, "acme/prod").problems).toMatchObject([{ pointer: "/workflow/steps" }]);
  });

  test("what cannot be is told with its place", () => {
    const wrong = (more: Partial<Bundle>) =>
      compile(bundle(more), "acme/prod").problems.map((one) => one.pointer);
    expect(wrong({ steps: [step("a", { assignedTo: null })] })).toEqual(["/workflow/steps/0/assigned_to"]);
    expect(wrong({ steps: [step("a"), step("a")] })).toEqual(["/workflow/steps"]);
    expect(wrong({ steps: [step("a", { onFailure: "z" })] })).toEqual(["/workflow/steps/0/on_failure"]);
    expect(wrong({ steps: [step("a")], entryStep: "z" })).toEqual(["/workflow/entry_step"]);
    expect(wrong({ steps: [step("a", { onSuccess: "b" }), step("b", { onFailure: "a" })] })).toEqual([
      "/workflow/steps",
    ]);
  });

  test("what is never reached is told, and is no problem", () => {
    const steps = [step("a", { onSuccess: "c", onFailure: "c" }), step("b"), step("c")];
    const { problems, warnings } = compile(bundle({ steps }), "acme/prod");
    expect([problems, warnings]).toEqual([[], ['step "b" is never reached']]);
  });

  test("what is not ours to judge is not taken for a refusal", () => {
    const broken = { ...bundle({ steps: [step("a")] }), agents: null } as never;
    expect(() => compile(broken, "acme/prod")).toThrow(TypeError);
  });
});

describe("conducting", () => {
  const born = (scenario: Scenario): Draft =>
    created({ conducted: true, steps: scenario.steps.map(({ key }) => plan(key)) });
  const ends = (end: object) => RawJson.of([{ intent_id: "child", status: "COMPLETED", ...end }]);
  const done = (draft: Draft, key: string, end: object = { result: 1 }): Draft => {
    const after = next(draft);
    wake(after, key, { result: ends(end) });
    return after;
  };
  const decided = (draft: Draft, outcome: string, comment: string | null = null): Draft => {
    const after = next(draft);
    decideTask(after, { step: null, outcome, comment, data: null });
    return after;
  };
  const led = (from: Draft, scenario: Scenario, childId = "child"): Draft => {
    const draft = next(from);
    expect(isConductible(draft.intent)).toBe(true);
    expect(isClaimable(draft.intent)).toBe(false);
    expect(nextDueAt(draft.intent)).toBe(draft.intent.createdAt);
    conduct(draft, scenario, childId);
    return draft;
  };

  test("each step is a wait, until the last one completes the intent", () => {
    const scenario = compiled({
      steps: [step("a"), step("ask", { assignedTo: "boss", deadlineMs: 500 }), step("b")],
    });
    let draft = next(born(scenario));
    expect(conduct(draft, scenario, "child")).toMatchObject({ key: "a" });
    expect(draft.intent).toMatchObject({
      status: "WAITING",
      waitingReason: "WAITING_FOR_AGENT",
      openSteps: ["a"],
      hasChildren: true,
    });
    draft = led(done(draft, "a"), scenario);
    expect(draft.intent).toMatchObject({ waitingReason: "WAITING_FOR_HUMAN", wakeAt: draft.now + 500 });
    draft = led(decided(draft, "approved"), scenario, "second");
    expect(draft.steps.get("b")?.wait).toMatchObject({ kind: "intents", ids: ["second"] });
    draft = led(done(draft, "b", { result: { n: 2 } }), scenario);
    expect(draft.intent.status).toBe("COMPLETED");
    expect(draft.outcome?.result?.parse()).toEqual({
      scenario_id: "s.v1",
      steps: {
        a: { status: "done", intent_id: "child" },
        ask: { status: "done", outcome: "approved" },
        b: { status: "done", intent_id: "second" },
      },
      result: { n: 2 },
    });
  });

  test("a decision that comes last is the result, and a result that is too large stays with the child", () => {
    const asked = compiled({ steps: [step("a"), step("ask", { assignedTo: "boss" })] });
    const first = led(done(led(born(asked), asked), "a"), asked);
    const over = led(decided(first, "approved"), asked);
    expect(over.outcome?.result?.parse()).toMatchObject({ result: { outcome: "approved" } });
    const large = compiled({ steps: [step("a"), step("b")] });
    const second = led(done(led(born(large), large), "a"), large);
    const omitted = led(done(second, "b", { result_omitted: true }), large);
    expect(omitted.outcome?.result?.parse()).toMatchObject({
      result: { result_omitted: true, intent_id: "child" },
    });
  });

  test("no is a failure, with what was said of it; any other word is a result", () => {
    const scenario = compiled({ steps: [step("ask", { assignedTo: "boss" }), step("b")] });
    const asked = led(born(scenario), scenario);
    expect(led(decided(asked, "rejected", "too late"), scenario).outcome?.error).toMatchObject({
      code: "rejected",
      message: 'step "ask" was decided: rejected: too late',
    });
    expect(led(decided(asked, "rejected"), scenario).outcome?.error?.message).toBe(
      'step "ask" was decided: rejected',
    );
    expect(led(decided(asked, "approved"), scenario).intent.status).toBe("WAITING");
  });

  test("a failed step fails the intent, or leads where its failure leads", () => {
    const fail = (draft: Draft): Draft => {
      const after = next(draft);
      failWait(after, editStep(after, "a"), { code: "broken", message: "it broke" });
      return after;
    };
    const plain = compiled({ steps: [step("a"), step("b")] });
    expect(led(fail(led(born(plain), plain)), plain).outcome?.error).toMatchObject({
      code: "broken",
      message: 'step "a": it broke',
    });
    const forked = compiled({
      steps: [
        step("a", { onSuccess: "b", onFailure: "ask" }),
        step("b"),
        step("ask", { assignedTo: "boss" }),
      ],
    });
    const asked = led(fail(led(born(forked), forked)), forked);
    expect(asked.intent.waitingReason).toBe("WAITING_FOR_HUMAN");
    const over = led(decided(asked, "approved"), forked);
    expect(over.outcome?.result?.parse()).toMatchObject({
      steps: { a: { status: "failed", intent_id: "child" }, ask: { outcome: "approved" } },
    });
  });

  test("a person who fell silent and an end without words are told, too", () => {
    const scenario = compiled({
      steps: [step("ask", { assignedTo: "boss", onFailure: "b" }), step("b")],
    });
    const silent = next(led(born(scenario), scenario));
    failWait(silent, editStep(silent, "ask"), { code: "wait_timeout", message: "in vain" });
    const over = led(done(led(silent, scenario), "b"), scenario);
    expect(over.outcome?.result?.parse()).toMatchObject({ steps: { ask: { status: "failed" } } });
    // A result that is nothing has nothing to say of a decision.
    const last = compiled({ steps: [step("a"), step("ask", { assignedTo: "boss" })] });
    const nothing = next(led(done(led(born(last), last), "a"), last));
    wake(nothing, "ask", { result: new RawJson("null") });
    expect(led(nothing, last).outcome?.result?.parse()).toMatchObject({ steps: { ask: { status: "done" } } });
  });

  test("a child's end that is no success is its step's failure", () => {
    expect(failureOfEnds(ends({ result: 1 }))).toBeNull();
    expect(failureOfEnds(ends({ status: "FAILED", error: { code: "x", message: "y" } }))).toMatchObject({
      code: "x",
      message: "intent child ended as FAILED: y",
    });
    expect(failureOfEnds(ends({ status: "CANCELED" }))).toMatchObject({ code: "child_ended" });
  });
});

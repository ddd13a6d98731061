// A wait is a step that somebody else finishes: signals, time, people. No lease, no cost, and nothing is lost meanwhile.
import { afterAll, beforeAll, expect, test } from "vitest";
import { claimOne, eventsOf, inStatus, post, send, step, typesOf, view } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server.close();
});

const wait = (id: string, key: string, attempt: number, what: Record<string, unknown>) =>
  step(server, id, key, { status: "waiting", attempt, wait: what });
const signal = (id: string, name: string, data?: unknown, headers: Record<string, string> = {}) =>
  call(server, "POST", `/v1/intents/${id}/signals/${name}`, data === undefined ? {} : { data }, headers);
const decide = (id: string, task_result: Record<string, unknown>, more: Record<string, unknown> = {}) =>
  post(server, id, "resume", { task_result, ...more });

test("an intent that waits for a signal holds no lease, costs no attempt, and goes on with the signal's data", async () => {
  const id = await send(server, "signal");
  const { attempt } = await claimOne(server, "signal");
  const parked = await wait(id, "go", attempt, { signal: "go" });
  expect(parked.status, JSON.stringify(parked.body)).toBe(200);
  expect(parked.body).toMatchObject({
    step: { status: "waiting", wait: { signal: "go" } },
    intent_status: "WAITING",
  });
  expect(await view(server, id)).toMatchObject({
    status: "WAITING",
    lifecycle_waiting_reason: "WAITING_FOR_TOOL",
  });
  expect((await call(server, "GET", `/v1/intents/${id}/explain`)).body.summary).toContain(
    'waits for signal "go"',
  );

  const late = await step(server, id, "other", { status: "done", attempt, result: 1 });
  expect(late.body.code).toBe("stale_attempt");

  expect((await signal(id, "go", { big: 1 })).body).toMatchObject({ delivered: true, status: "IN_PROGRESS" });
  const again = await claimOne(server, "signal");
  expect(again).toMatchObject({ intent_id: id, attempt: 2, lost_deliveries: 0 });
  expect(again.steps).toMatchObject([{ key: "go", status: "done", result: { big: 1 } }]);
  expect(await typesOf(server, id)).not.toContain("lost");
});

test("a signal sent before the wait is not lost, and each is taken once, in order", async () => {
  const id = await send(server, "early");
  for (const n of [1, 2, 3]) expect((await signal(id, "tick", n)).body.delivered).toBe(false);
  const { attempt } = await claimOne(server, "early");
  for (const n of [1, 2, 3]) {
    const taken = await wait(id, `tick-${n}`, attempt, { signal: "tick" });
    expect(taken.body).toMatchObject({ step: { status: "done", result: n }, intent_status: "IN_PROGRESS" });
  }
  const repeated = await wait(id, "tick-1", attempt, { signal: "tick" });
  expect(repeated.body.step).toMatchObject({ status: "done", result: 1 });
  expect((await wait(id, "tick-4", attempt, { signal: "tick" })).body.intent_status).toBe("WAITING");
});

test("a signal repeated with its key is one signal", async () => {
  const id = await send(server, "once");
  const first = await signal(id, "go", 1, { "idempotency-key": "s-1" });
  const second = await signal(id, "go", 1, { "idempotency-key": "s-1" });
  expect(second.headers.get("idempotent-replayed")).toBe("true");
  expect(second.body.seq).toBe(first.body.seq);
  const { attempt } = await claimOne(server, "once");
  await wait(id, "a", attempt, { signal: "go" });
  expect((await wait(id, "b", attempt, { signal: "go" })).body.intent_status).toBe("WAITING");
});

test("signals nobody reads are bounded, and an ended intent takes none", async () => {
  const id = await send(server, "flood");
  const answers: Awaited<ReturnType<typeof signal>>[] = [];
  for (let n = 0; n < 1_003; n += 59)
    answers.push(...(await Promise.all(Array.from({ length: 59 }, (_, i) => signal(id, "x", n + i)))));
  expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1_000);
  expect(answers.find((answer) => answer.status !== 200)?.body.code).toBe("too_many_signals");
  await post(server, id, "cancel");
  expect((await signal(id, "x")).body.code).toBe("intent_terminal");
});

test("a sleep ends by the clock, and is not slept again when it is asked for again", async () => {
  const id = await send(server, "sleep");
  const { attempt } = await claimOne(server, "sleep");
  const parked = await wait(id, "nap", attempt, { seconds: 0.3 });
  expect(parked.body.intent_status).toBe("WAITING");
  const again = await claimOne(server, "sleep");
  expect(again.steps).toMatchObject([
    { key: "nap", status: "done", result: null, wait: parked.body.step.wait },
  ]);
  expect((await wait(id, "past", again.attempt, { until: "2020-01-01T00:00:00Z" })).body.step.status).toBe(
    "done",
  );
});

test("a wait that nobody ends in time fails its step for good", async () => {
  const id = await send(server, "vain");
  const { attempt } = await claimOne(server, "vain");
  await wait(id, "go", attempt, { signal: "go", timeout_seconds: 0.2 });
  const again = await claimOne(server, "vain");
  expect(again.steps).toMatchObject([
    { key: "go", status: "failed", error: { code: "wait_timeout", final: true } },
  ]);
  const replayed = await wait(id, "go", again.attempt, { signal: "go" });
  expect(replayed.body).toMatchObject({ step: { status: "failed" }, intent_status: "IN_PROGRESS" });
});

test("steps that run are recorded before an intent waits", async () => {
  const id = await send(server, "busy");
  const { attempt } = await claimOne(server, "busy");
  await step(server, id, "work", { status: "running", attempt });
  const refused = await wait(id, "go", attempt, { signal: "go" });
  expect(refused.body).toMatchObject({ code: "steps_pending", error: { details: { steps: ["work"] } } });
  await step(server, id, "work", { status: "done", attempt, result: 1 });
  expect((await wait(id, "go", attempt, { signal: "go" })).body.intent_status).toBe("WAITING");
});

test("a wait whose answer was lost is answered again, and leaves no trace", async () => {
  const id = await send(server, "lost-answer");
  const { attempt } = await claimOne(server, "lost-answer");
  await wait(id, "go", attempt, { signal: "go" });
  const seq = (await view(server, id)).seq;
  const again = await wait(id, "go", attempt, { signal: "go" });
  expect(again.body).toMatchObject({ step: { status: "waiting" }, intent_status: "WAITING" });
  expect((await view(server, id)).seq).toBe(seq);
});

test("a wait of an old attempt changes nothing", async () => {
  const id = await send(server, "stale");
  const { attempt } = await claimOne(server, "stale");
  await post(server, id, "release", { attempt });
  expect((await wait(id, "go", attempt, { signal: "go" })).body.code).toBe("stale_attempt");
  expect((await view(server, id)).status).not.toBe("WAITING");
});

test("a declared step may be a wait, and the last one completes the intent with what it waited for", async () => {
  const id = await send(server, "declared", { steps: ["prepare", "approval"] });
  const { attempt } = await claimOne(server, "declared");
  await step(server, id, "prepare", { status: "done", attempt, result: 1 });
  await wait(id, "approval", attempt, { signal: "approved" });
  await signal(id, "approved", { by: "ann" });
  expect(await inStatus(server, id, "COMPLETED")).toMatchObject({
    result: { by: "ann" },
    progress: { done: 2, total: 2 },
  });
});

test("a plan's last wait completes the intent also when it is satisfied at once, unless its agent wants the last word", async () => {
  const id = await send(server, "at-once", { steps: ["approval"] });
  await signal(id, "approved", 1);
  const { attempt } = await claimOne(server, "at-once");
  expect((await wait(id, "approval", attempt, { signal: "approved" })).body.intent_status).toBe("COMPLETED");

  const other = await send(server, "last-word", { steps: ["approval"] });
  const held = await claimOne(server, "last-word");
  await step(server, other, "approval", {
    status: "waiting",
    attempt: held.attempt,
    wait: { signal: "approved" },
    complete_intent: false,
  });
  await signal(other, "approved", 1);
  const again = await claimOne(server, "last-word");
  expect(again).toMatchObject({ intent_id: other, next_step: null });
  expect((await view(server, other)).status).toBe("IN_PROGRESS");
});

test("a person's decision is validated, recorded once, and wakes the intent", async () => {
  const id = await send(server, "human");
  const { attempt } = await claimOne(server, "human");
  const human_task = {
    title: "Refund 40 EUR?",
    allowed_outcomes: ["yes", "no"],
    required_comment: true,
    assignees: ["ann"],
    form_schema: { required: ["amount"], properties: { amount: { type: "number" } } },
  };
  await wait(id, "ask", attempt, { human_task });
  const mine = (await call(server, "GET", "/v1/me/tasks?assignee=ann")).body.tasks;
  expect(mine).toMatchObject([{ intent_id: id, step: "ask", human_task: { title: "Refund 40 EUR?" } }]);
  expect((await call(server, "GET", "/v1/me/tasks?assignee=bob")).body.tasks).toEqual([]);

  const bad = await decide(id, { outcome: "perhaps", data: { amount: "much" } });
  expect(bad.status).toBe(422);
  expect(bad.body.errors.map((one: { pointer: string }) => one.pointer)).toEqual([
    "/task_result/outcome",
    "/task_result/comment",
    "/task_result/data/amount",
  ]);
  const decision = { outcome: "yes", comment: "fine", data: { amount: 40 } };
  expect((await decide(id, decision)).body).toMatchObject({ applied: true, step: { status: "done" } });
  expect((await decide(id, decision)).body.applied).toBe(false);
  expect((await decide(id, { outcome: "no", comment: "hm", data: { amount: 1 } })).body.code).toBe(
    "already_decided",
  );
  expect((await call(server, "GET", "/v1/me/tasks")).body.tasks).toEqual([]);

  const again = await claimOne(server, "human");
  expect(again.steps[0].result).toMatchObject({ outcome: "yes", comment: "fine", data: { amount: 40 } });
  expect(again.steps[0].result.decided_by).toEqual(expect.any(String));
});

test("an intent that is a person's task goes to nobody, and the decision is its result", async () => {
  const id = await send(server, "nobody", { human_task: { title: "Approve?" } });
  expect(await view(server, id)).toMatchObject({
    status: "WAITING",
    lifecycle_waiting_reason: "WAITING_FOR_HUMAN",
  });
  expect((await decide(id, { outcome: "approved" })).status).toBe(200);
  expect(await inStatus(server, id, "COMPLETED")).toMatchObject({
    result: { outcome: "approved" },
    attempt: 0,
  });
  expect((await decide(id, { outcome: "approved" })).body.applied).toBe(false);
});

test("a step in doubt that asks is listed among what people are asked, and is settled in its own way", async () => {
  const id = await send(server, "doubted", { on_interrupt: "ask" });
  await claimOne(server, "doubted");
  await step(server, id, "charge", { status: "running", attempt: 1 });
  await post(server, id, "release", { attempt: 1 });
  const listed = async () =>
    (await call(server, "GET", "/v1/me/tasks?limit=500")).body.tasks.filter(
      (task: { intent_id: string }) => task.intent_id === id,
    );
  expect(await listed()).toMatchObject([{ step: "charge", human_task: { task_type: "in_doubt" } }]);
  const refused = await decide(id, { outcome: "approved" });
  expect(refused.body).toMatchObject({ code: "no_human_task", error: { details: { step: "charge" } } });
  await call(server, "POST", `/v1/intents/${id}/steps/charge/decide`, { done: { id: 7 } });
  expect(await listed()).toEqual([]);
  const again = await claimOne(server, "doubted");
  expect(again.steps[0]).toMatchObject({ status: "done", result: { id: 7 } });
  expect(again.steps[0]).not.toHaveProperty("duration_ms");
});

test("a canceled task that is retried is assigned again", async () => {
  const id = await send(server, "again", { human_task: { title: "Approve?" } });
  await post(server, id, "cancel");
  expect((await decide(id, { outcome: "approved" })).body.code).toBe("no_human_task");
  await post(server, id, "retry");
  expect((await view(server, id)).status).toBe("WAITING");
  await decide(id, { outcome: "rejected" });
  expect((await view(server, id)).result).toMatchObject({ outcome: "rejected" });
});

test("a person who does not answer is reminded, then somebody else is told", async () => {
  const human_task = {
    title: "Look?",
    remind_after_seconds: 0.1,
    remind_interval_seconds: 0.1,
    max_reminders: 2,
    escalate_to: "boss",
  };
  const id = await send(server, "slow", { human_task });
  await until("the escalation", async () => (await typesOf(server, id)).includes("escalated"));
  const told = (await eventsOf(server, id)).filter(({ event_type }) => /reminder|escalated/.test(event_type));
  expect(told.map(({ event_type }) => event_type)).toEqual([
    "intent.reminder",
    "intent.reminder",
    "intent.escalated",
  ]);
  expect((await view(server, id)).status).toBe("WAITING");
  expect((await decide(id, { outcome: "approved" })).body.applied).toBe(true);
});

test("a paused intent that waits wakes when it should, and is delivered after the unpause", async () => {
  const id = await send(server, "paused");
  const { attempt } = await claimOne(server, "paused");
  await wait(id, "go", attempt, { signal: "go" });
  await post(server, id, "pause");
  await signal(id, "go", 1);
  expect(await view(server, id)).toMatchObject({ status: "IN_PROGRESS", paused: true });
  expect(
    (await call(server, "POST", "/v1/agents/paused/claim", { wait_seconds: 0 })).body.deliveries,
  ).toEqual([]);
  await post(server, id, "unpause");
  expect((await claimOne(server, "paused")).intent_id).toBe(id);
});

test("an intent's deadline runs while it waits", async () => {
  const id = await send(server, "deadline", { ttl_seconds: 0.4 });
  const { attempt } = await claimOne(server, "deadline");
  await wait(id, "go", attempt, { signal: "go" });
  await inStatus(server, id, "TIMED_OUT");
});

test.each([
  ["nothing", {}],
  ["two things", { signal: "a", seconds: 1 }],
  ["no children", { intents: [] }],
  ["a nameless task", { human_task: {} }],
])("a wait for %s is refused by name", async (_what, what) => {
  const id = await send(server, "bad");
  const answer = await wait(id, "x", 1, what);
  expect(answer.status).toBe(422);
  expect(answer.body.errors[0].pointer).toMatch(/^\/wait/);
});

test("the state of a paused intent is edited by an operator, and the log says who", async () => {
  const id = await send(server, "edit");
  await post(server, id, "pause");
  await call(server, "PUT", `/v1/state/intent:${id}/limit`, { value: 5 });
  await post(server, id, "unpause");
  const { attempt } = await claimOne(server, "edit");
  expect((await call(server, "GET", `/v1/state/intent:${id}/limit`)).body.entry).toMatchObject({ value: 5 });
  const edit = (await eventsOf(server, id)).find(({ event_type }) => event_type === "intent.state_changed");
  expect(edit).toMatchObject({
    actor: expect.any(String),
    details: { writes: [{ key: "limit", version: 1, value: 5 }] },
  });
  expect(attempt).toBe(1);
});

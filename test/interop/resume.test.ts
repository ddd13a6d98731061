// POST …/resume in all its forms, and in the order in which they are judged.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { claimOne, post, step } from "../delivery/listener.ts";
import { issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { AxpClient } from "./clients/rest.ts";
import { valid } from "./schemas.ts";

let server: TestServer;
let axp: AxpClient;
beforeAll(async () => {
  server = await startTestServer();
  axp = new AxpClient(server.url);
});
afterAll(() => server.close());

const intent = (more: object = {}) => ({ intent_type: "job.v1", to_agent: "worker", payload: {}, ...more });
const TASK = { title: "May it?", allowed_outcomes: ["approved", "rejected", "later"] };

/** An intent whose agent waits in a step. */
async function waiting(address: string, wait: object, more: object = {}): Promise<string> {
  const id = await axp.sendIntent(intent({ to_agent: address, ...more }));
  await claimOne(server, address);
  const parked = await step(server, id, "ask", { status: "waiting", attempt: 1, wait, ...more });
  expect(parked.body.intent_status).toBe("WAITING");
  return id;
}

test("a bare object is the final result, exactly as it was sent", async () => {
  const id = await axp.sendIntent(intent());
  const text = '{"rows": 12345678901234567890, "reason": {"any": "thing"}, "actor": 7, "step": [1]}';
  const answer = valid("resume", (await call(server, "POST", `/v1/intents/${id}/resume`, text)).body);
  expect(answer).toMatchObject({ applied: true, status: "COMPLETED", policy_generation: 0 });
  const read = await (await fetch(`${server.url}/v1/intents/${id}`)).text();
  expect(read).toContain(text);
  expect(answer.result).toMatchObject({ reason: { any: "thing" }, actor: 7, step: [1] });
});

test("action complete is stripped, and the rest is the result", async () => {
  const id = await axp.sendIntent(intent());
  const answer = valid("resume", await axp.resume(id, { action: "complete", status: "success", rows: 3 }));
  expect(answer).toMatchObject({
    applied: true,
    status: "COMPLETED",
    result: { status: "success", rows: 3 },
  });
  expect(answer.result).not.toHaveProperty("action");
});

test.each([
  [{ error: "no disk" }, { code: "failed", message: "no disk" }],
  [{ error: { code: "disk", message: "full" } }, { code: "disk", message: "full" }],
  [
    { reason: "tired", extra: 1 },
    { code: "failed", message: "tired", details: { extra: 1 } },
  ],
  [{}, { code: "failed", message: "the handler failed" }],
])("action fail takes what is told of it: %j", async (told, error) => {
  const id = await axp.sendIntent(intent());
  const answer = valid("resume", await axp.resume(id, { action: "fail", ...told }));
  expect(answer.status).toBe("FAILED");
  expect(answer.intent.error).toMatchObject(error);
});

test("another action is nobody's word but the result's own", async () => {
  const id = await axp.sendIntent(intent());
  const answer = await axp.resume(id, { action: "approve", by: "rule" });
  expect(answer).toMatchObject({ status: "COMPLETED", result: { action: "approve", by: "rule" } });
});

test("the same end again is answered the same, and another is refused", async () => {
  const id = await axp.sendIntent(intent());
  const body = { action: "complete", n: 1 };
  const first = await axp.resume(id, body);
  const again = await call(server, "POST", `/v1/intents/${id}/resume`, body);
  expect(again.headers.get("idempotent-replayed")).toBe("true");
  expect(again.body.event).toEqual(first.event);
  await expect(axp.resume(id, { action: "complete", n: 2 })).rejects.toMatchObject({ status: 409 });
});

test("an attempt that is carried is a fence: a dead agent's late end is refused", async () => {
  const id = await axp.sendIntent(intent({ to_agent: "fenced" }));
  await claimOne(server, "fenced");
  await post(server, id, "release", { attempt: 1 });
  await claimOne(server, "fenced", { consumer: "second" });
  const late = call(server, "POST", `/v1/intents/${id}/resume`, { action: "complete", attempt: 1, n: 1 });
  expect((await late).body.code).toBe("stale_attempt");
  const answer = await axp.resume(id, { attempt: 2, n: 2 });
  expect(answer).toMatchObject({ status: "COMPLETED", result: { n: 2 } });
  expect(answer.result).not.toHaveProperty("attempt");
});

describe("a person's decision", () => {
  test("comes before everything else, and ends an intent that is nothing but the task", async () => {
    const id = await axp.sendIntent(intent({ human_task: TASK }));
    const before = valid("get", await axp.getIntent(id)).intent;
    expect(before).toMatchObject({
      lifecycle_waiting_reason: "WAITING_FOR_HUMAN",
      human_task: { title: "May it?" },
      pending_with: { type: "human" },
    });
    const answer = valid(
      "resume",
      await axp.resume(id, { task_result: { outcome: "later", comment: "soon" }, action: "fail" }),
    );
    expect(answer).toMatchObject({ status: "COMPLETED", applied: true, result: { outcome: "later" } });
  });

  test("is checked, and fields beside the outcome are those of the form", async () => {
    const form_schema = { required: ["owner", "outcome"], properties: { owner: { type: "string" } } };
    const id = await axp.sendIntent(intent({ human_task: { ...TASK, form_schema } }));
    const missing = axp.resume(id, { task_result: { outcome: "approved" } });
    await expect(missing).rejects.toMatchObject({ status: 422, message: expect.stringMatching(/owner/) });
    await expect(axp.resume(id, { task_result: { outcome: "maybe" } })).rejects.toMatchObject({
      status: 422,
    });
    await expect(axp.resume(id, { task_result: "approved" })).rejects.toMatchObject({ status: 422 });
    const answer = await axp.resume(id, { task_result: { outcome: "approved", owner: "ann" } });
    expect(answer.result).toMatchObject({ outcome: "approved", data: { owner: "ann" } });
  });

  test("stands once it is given: the same again changes nothing, another is refused", async () => {
    const id = await axp.sendIntent(intent({ human_task: TASK }));
    const first = { task_result: { outcome: "approved" } };
    expect((await axp.resume(id, first)).applied).toBe(true);
    expect((await axp.resume(id, first)).applied).toBe(false);
    await expect(axp.resume(id, { task_result: { outcome: "rejected" } })).rejects.toMatchObject({
      status: 409,
    });
  });
});

describe("a plain go on", () => {
  test.each([
    ["an approval", { human_task: TASK }, { outcome: "approved" }],
    ["a signal", { signal: "go" }, null],
    ["time", { seconds: 3600 }, null],
  ])("ends the wait for %s and gives the intent back to its agent", async (name, wait, result) => {
    const address = `go-${name.replace(/\W/g, "-")}`;
    const id = await waiting(address, wait);
    const answer = valid("resume", await axp.resume(id, { approve_current_step: true, reason: "fine" }));
    expect(answer).toMatchObject({ applied: true, status: "IN_PROGRESS" });
    const again = await claimOne(server, address);
    const ask = again.steps.find((one: { key: string }) => one.key === "ask");
    expect(ask.status).toBe("done");
    if (result === null) expect(ask.result).toBeNull();
    else expect(ask.result).toMatchObject(result);
  });

  test("says so when nothing waits, with nothing but words about it", async () => {
    const id = await axp.sendIntent(intent());
    for (const body of [{}, { approve_current_step: true }, { reason: "x", actor: "agent://me" }])
      expect(valid("resume", await axp.resume(id, body))).toMatchObject({
        applied: false,
        reason: "nothing_waiting",
        status: "SUBMITTED",
      });
  });

  test("never ends an intent: neither a person's task nor a plan's last step", async () => {
    const task = await axp.sendIntent(intent({ human_task: TASK }));
    expect(await axp.resume(task, {})).toMatchObject({
      applied: false,
      reason: "task_result_required",
      status: "WAITING",
    });
    const last = await waiting("last-step", { signal: "go" }, { steps: ["ask"] });
    expect(await axp.resume(last, {})).toMatchObject({ applied: true, status: "IN_PROGRESS" });
  });

  test("does not answer for children, nor for a step in doubt", async () => {
    const parent = await axp.sendIntent(intent({ to_agent: "parent" }));
    await claimOne(server, "parent");
    const child = await axp.sendIntent(intent({ to_agent: "child", parent_intent_id: parent }));
    await step(server, parent, "ask", { status: "waiting", attempt: 1, wait: { intents: [child] } });
    expect(valid("get", await axp.getIntent(parent)).intent.pending_with).toMatchObject({
      type: "agent",
      name: "child",
    });
    expect(await axp.resume(parent, {})).toMatchObject({ applied: false, reason: "waits_for_intents" });
    const doubt = await axp.sendIntent(intent({ to_agent: "doubt", on_interrupt: "ask" }));
    await claimOne(server, "doubt");
    await step(server, doubt, "charge", { status: "running", attempt: 1 });
    await post(server, doubt, "release", { attempt: 1 });
    expect(await axp.resume(doubt, {})).toMatchObject({ applied: false, reason: "step_in_doubt" });
  });

  test("is done once per idempotency key, whatever waits by then", async () => {
    const id = await waiting("once", { signal: "first" });
    const body = { approve_current_step: true };
    expect((await axp.resume(id, body, { idempotencyKey: "go-1" })).applied).toBe(true);
    const { attempt } = await claimOne(server, "once");
    await step(server, id, "second", { status: "waiting", attempt, wait: { signal: "second" } });
    const again = await axp.resume(id, body, { idempotencyKey: "go-1" });
    expect(again).toMatchObject({ applied: true, status: "WAITING" });
    expect((await axp.resume(id, body, { idempotencyKey: "go-2" })).status).toBe("IN_PROGRESS");
  });

  test("is no way to decline", async () => {
    const id = await waiting("decline", { human_task: TASK });
    await expect(axp.resume(id, { approve_current_step: false })).rejects.toMatchObject({ status: 422 });
    expect((await axp.getIntent(id)).status).toBe("WAITING");
  });
});

test("another policy than the caller saw changes nothing, in every form", async () => {
  const id = await waiting("stale", { human_task: TASK });
  await axp.updateControls(id, { controls_patch: { ttl_seconds: 3600 } });
  const stale = { ok: true, applied: false, reason: "stale_policy_generation", policy_generation: 1 };
  for (const body of [
    { task_result: { outcome: "approved" } },
    { approve_current_step: true },
    { action: "complete" },
    { rows: 1 },
  ])
    expect(valid("resume", await axp.resume(id, { ...body, expected_policy_generation: 0 }))).toEqual(stale);
  expect(await axp.resolve(id, { status: "COMPLETED", expected_policy_generation: 0 })).toEqual(stale);
  expect((await axp.getIntent(id)).status).toBe("WAITING");
  const answer = await axp.resume(id, { approve_current_step: true, expected_policy_generation: 1 });
  expect(answer).toMatchObject({ applied: true, policy_generation: 1 });
});

test("only whoever stands for the agent, or operates, resumes", async () => {
  const keyed = await startKeyedServer();
  try {
    const sender = await issueKey(keyed, "acme/prod/sender", ["send", "act", "read"]);
    const agent = await issueKey(keyed, "acme/prod/worker", ["act", "read"]);
    const stranger = await issueKey(keyed, "other/prod/worker", ["act", "read", "operate"]);
    const { body } = await call(keyed, "POST", "/v1/intents", intent(), sender.headers);
    const path = `/v1/intents/${body.intent_id}/resume`;
    for (const form of [{}, { n: 1 }, { task_result: { outcome: "approved" } }]) {
      expect((await call(keyed, "POST", path, form, sender.headers)).status).toBe(403);
      expect((await call(keyed, "POST", path, form, stranger.headers)).status).toBe(404);
    }
    expect((await call(keyed, "POST", path, { n: 1 }, agent.headers)).body.status).toBe("COMPLETED");
  } finally {
    await keyed.close();
  }
});

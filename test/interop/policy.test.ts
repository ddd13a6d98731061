// Controls and policies of an intent under way: what they change, that it is told, and that only one of two writers wins.
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { claimOne, eventsOf, inStatus, post, typesOf } from "../delivery/listener.ts";
import { issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { AxpClient } from "./clients/rest.ts";
import { valid } from "./schemas.ts";

let server: TestServer;
let axp: AxpClient;
beforeAll(async () => {
  server = await startTestServer();
  axp = new AxpClient(server.url);
});
afterAll(async () => {
  expect((await verifyDatabase(server.databaseUrl)).violations).toEqual([]);
  await server.close();
});

const intent = (more: object = {}) => ({ intent_type: "job.v1", to_agent: "idle", payload: {}, ...more });

test("controls change times, losses and retries; the log says what was and what is", async () => {
  const id = await axp.sendIntent(intent());
  const deadline_at = "2030-01-01T00:00:00.000Z";
  const controls_patch = { timeout_seconds: 120, deadline_at, max_delivery_attempts: 7, max_retries: 2 };
  const body = { controls_patch, expected_policy_generation: 0, reason: "it is bigger than we thought" };
  const answer = valid("policy", await axp.updateControls(id, body));
  expect(answer).toMatchObject({ applied: true, policy_generation: 1 });
  expect(answer.intent).toMatchObject({ deadline_at, max_delivery_attempts: 7, policy_generation: 1 });
  const [event] = (await eventsOf(server, id)).slice(-1);
  expect(event).toMatchObject({
    event_type: "intent.policy_changed",
    details: {
      deadline_at: { from: null, to: deadline_at },
      max_delivery_attempts: { from: 3, to: 7 },
      attempt_timeout_seconds: { from: null, to: 120 },
      max_retries: { from: 0, to: 2 },
      reason: body.reason,
    },
  });
});

test("an envelope says the same in other words, and what has no meaning here is named", async () => {
  const id = await axp.sendIntent(intent());
  const answer = valid(
    "policy",
    await axp.updatePolicy(id, {
      grants_patch: { "delegate:agent://ops": { allow: ["resume"] } },
      envelope_patch: { max_retry_count: 10, retry_backoff_seconds: 5, ttl_seconds: 600, colour: "red" },
    }),
  );
  expect(answer).toMatchObject({ applied: true, policy_generation: 1 });
  expect(answer.warnings.join("\n")).toMatch(/envelope_patch\.colour.*\n.*grants_patch was ignored/);
  expect(Date.parse(answer.intent.deadline_at)).toBeGreaterThan(
    Date.parse(answer.intent.created_at) + 500_000,
  );
});

test("nothing that is known is nothing to apply", async () => {
  const id = await axp.sendIntent(intent());
  const answer = await axp.updateControls(id, { controls_patch: { last_retry_attempt: 2 } });
  expect(valid("policy", answer)).toMatchObject({
    applied: false,
    reason: "nothing_to_apply",
    policy_generation: 0,
  });
  expect(await typesOf(server, id)).toEqual(["created", "submitted"]);
});

test("of two who saw the same policy one wins, and the other is told which counts now", async () => {
  const id = await axp.sendIntent(intent());
  const write = (max_delivery_attempts: number) =>
    axp.updateControls(id, { controls_patch: { max_delivery_attempts }, expected_policy_generation: 0 });
  const answers = await Promise.all([write(5), write(6), write(7)]);
  expect(answers.filter((answer) => answer.applied)).toHaveLength(1);
  const stale = { ok: true, applied: false, reason: "stale_policy_generation", policy_generation: 1 };
  expect(answers.filter((answer) => !answer.applied)).toEqual([stale, stale]);
});

test("a patch is done once per idempotency key", async () => {
  const id = await axp.sendIntent(intent());
  const body = { controls_patch: { max_delivery_attempts: 9 }, expected_policy_generation: 0 };
  const first = await axp.updateControls(id, body, { idempotencyKey: "patch-1" });
  const again = await axp.updateControls(id, body, { idempotencyKey: "patch-1" });
  expect([first.applied, again.applied, again.policy_generation]).toEqual([true, true, 1]);
  const other = { controls_patch: { max_delivery_attempts: 8 } };
  await expect(axp.updateControls(id, other, { idempotencyKey: "patch-1" })).rejects.toMatchObject({
    status: 409,
  });
});

test("a retry counts as a change of the policy, too", async () => {
  const id = await axp.sendIntent(intent());
  await axp.updateControls(id, { controls_patch: { ttl_seconds: 3600 } });
  await axp.resume(id, { action: "fail" });
  await post(server, id, "retry");
  expect((await axp.getIntent(id)).intent.policy_generation).toBe(2);
});

test("a new deadline ends an intent when it has passed, and a new time limit its attempt", async () => {
  const late = await axp.sendIntent(intent());
  await axp.updateControls(late, { controls_patch: { ttl_seconds: 0.05 } });
  await inStatus(server, late, "TIMED_OUT");
  const slow = await axp.sendIntent(intent({ to_agent: "slow" }));
  await claimOne(server, "slow", { lease_seconds: 60 });
  await axp.updateControls(slow, { controls_patch: { timeout_seconds: 0.05 } });
  expect((await claimOne(server, "slow", { consumer: "other", lease_seconds: 60 })).attempt).toBe(2);
  await axp.updateControls(slow, { controls_patch: { timeout_seconds: null } });
});

test("fewer losses may be allowed, but never fewer than have happened", async () => {
  const id = await axp.sendIntent(intent({ to_agent: "loser", attempt_timeout_seconds: 0.05 }));
  await claimOne(server, "loser", { lease_seconds: 60 });
  await until("the loss", async () => (await axp.getIntent(id)).intent.lost_deliveries === 1);
  const refused = axp.updateControls(id, { controls_patch: { max_delivery_attempts: 1 } });
  await expect(refused).rejects.toMatchObject({ status: 422, message: expect.stringMatching(/more than 1/) });
  await axp.updateControls(id, { controls_patch: { max_delivery_attempts: 2 } });
  await claimOne(server, "loser", { consumer: "second", lease_seconds: 60 });
  await inStatus(server, id, "FAILED");
  expect((await axp.getIntent(id)).intent.error.code).toBe("delivery_attempts_exhausted");
});

test("paused is a control like any other", async () => {
  const id = await axp.sendIntent(intent());
  expect((await axp.updateControls(id, { controls_patch: { paused: true } })).intent.paused).toBe(true);
  expect((await axp.updateControls(id, { controls_patch: { paused: false } })).intent.paused).toBe(false);
  expect(await typesOf(server, id)).toEqual([
    "created",
    "submitted",
    "policy_changed",
    "paused",
    "policy_changed",
    "unpaused",
  ]);
});

test("reminders of a task that waits begin anew", async () => {
  const id = await axp.sendIntent(intent({ human_task: { title: "May it?" } }));
  const patch = { remind_after_seconds: 0.05, max_reminders: 1, escalate_to: "agent://local/dev/boss" };
  await axp.updateControls(id, { controls_patch: { ...patch, remind_interval_seconds: 0.05 } });
  const escalated = await until("the escalation", async () =>
    (await eventsOf(server, id)).find((event) => event.event_type === "intent.escalated"),
  );
  expect(escalated).toMatchObject({
    details: { escalated_to: "agent://local/dev/boss" },
    pending_with: { name: "agent://local/dev/boss" },
  });
});

test("an intent that has ended keeps its policy", async () => {
  const id = await axp.sendIntent(intent());
  await axp.resume(id, { n: 1 });
  const refused = axp.updateControls(id, { controls_patch: { ttl_seconds: 60 } });
  await expect(refused).rejects.toMatchObject({ status: 409, body: { code: "intent_terminal" } });
});

test("only its sender or an operator changes a policy", async () => {
  const keyed = await startKeyedServer();
  try {
    const sender = await issueKey(keyed, "acme/prod/sender", ["send", "read"]);
    const colleague = await issueKey(keyed, "acme/prod/colleague", ["send", "read"], {
      patterns: ["acme/prod/idle"],
    });
    const { body } = await call(keyed, "POST", "/v1/intents", intent(), sender.headers);
    const path = `/v1/intents/${body.intent_id}/controls`;
    const patch = { controls_patch: { ttl_seconds: 60 } };
    expect((await call(keyed, "POST", path, patch, colleague.headers)).status).toBe(403);
    expect((await call(keyed, "POST", path, patch, sender.headers)).body.applied).toBe(true);
  } finally {
    await keyed.close();
  }
});

// What time and failure do to an intent: deadlines, time-outs, losses up to the cap, retries (DELIVERY D7, D10).
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer, until } from "../support/server.ts";
import {
  claimOne,
  eventsOf,
  inStatus,
  type Listener,
  listen,
  post,
  send,
  step,
  typesOf,
  view,
} from "./listener.ts";

let server: TestServer;
const open: Listener[] = [];
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  for (const listener of open) listener.cut();
  await server.close();
});

async function agent(...args: Parameters<typeof listen>): Promise<Listener> {
  const listener = await listen(...args);
  open.push(listener);
  return listener;
}

/** The current holder dies: its lease ends. */
async function loseHolder(id: string): Promise<void> {
  const { attempt } = await view(server, id);
  await server.store.pool.query(
    "update consumers set lease_until = perdure_now() where id = (select consumer_id from leases where intent_id = $1)",
    [id],
  );
  await until("the loss is recorded", async () =>
    (await eventsOf(server, id)).some(
      (event) => event.event_type === "intent.lost" && event.attempt === attempt,
    ),
  );
}

test("an intent nobody takes times out at its deadline", async () => {
  const id = await send(server, "nobody", { ttl_seconds: 0.3 });
  expect(await inStatus(server, id, "TIMED_OUT")).toMatchObject({ attempt: 0 });
  expect(await typesOf(server, id)).toEqual(["created", "submitted", "timed_out"]);
});

test("a deadline ends work that is held, tells the holder, and refuses what it writes then", async () => {
  const id = await send(server, "deadline", { ttl_seconds: 2, steps: ["one"] });
  const listener = await agent(server, "deadline", { ack: "explicit" });
  await listener.next("intent.delivered");
  await post(server, id, "start", { attempt: 1 });
  expect((await listener.next("intent.canceled")).data).toMatchObject({ intent_id: id, status: "TIMED_OUT" });
  expect((await step(server, id, "one", { status: "done", attempt: 1 })).body.code).toBe("stale_attempt");
  expect((await view(server, id)).status).toBe("TIMED_OUT");
});

test("deadlines run while paused", async () => {
  const id = await send(server, "paused-deadline", { ttl_seconds: 0.4 });
  await post(server, id, "pause");
  await inStatus(server, id, "TIMED_OUT");
});

test("retry of a timed-out intent clears the deadline that has passed", async () => {
  const id = await send(server, "revive", { ttl_seconds: 0.2 });
  await inStatus(server, id, "TIMED_OUT");
  await post(server, id, "retry");
  expect(await claimOne(server, "revive")).toMatchObject({ attempt: 1, intent: { deadline_at: null } });
});

test("an attempt that takes too long is a loss, although its agent lives", async () => {
  const id = await send(server, "hung", { attempt_timeout_seconds: 0.4 });
  const listener = await agent(server, "hung", { consumer: "a" });
  await listener.next("intent.delivered");
  expect((await listener.next("intent.lost")).data).toMatchObject({ attempt: 1, reason: "attempt_timeout" });
  expect((await listener.next("intent.delivered", 2)).data).toMatchObject({ attempt: 2, lost_deliveries: 1 });
  await post(server, id, "resolve", { status: "COMPLETED", attempt: 2 });
});

test("a step that takes too long ends its attempt and is in doubt in the next", async () => {
  const id = await send(server, "slow-step", { steps: [{ key: "one", timeout_seconds: 0.4 }, "two"] });
  const listener = await agent(server, "slow-step", { ack: "explicit" });
  await listener.next("intent.delivered");
  await post(server, id, "start", { attempt: 1 });
  expect((await listener.next("intent.lost")).data.reason).toBe("step_timeout");
  const again = await listener.next("intent.delivered", 2);
  expect(again.data.next_step).toMatchObject({ key: "one", interrupted: true });
  expect((await step(server, id, "one", { status: "done", attempt: 1 })).body.code).toBe("stale_attempt");
});

test("the third lost delivery fails the intent; an operator's retry goes on with done steps kept", async () => {
  const id = await send(server, "exhaust", { steps: ["one", "two"] });
  await claimOne(server, "exhaust");
  await step(server, id, "one", { status: "done", attempt: 1, result: "kept", begin_next: true });
  for (const attempt of [1, 2, 3]) {
    if (attempt > 1) await claimOne(server, "exhaust");
    expect((await view(server, id)).attempt).toBe(attempt);
    await loseHolder(id);
  }
  const failed = await inStatus(server, id, "FAILED");
  expect(failed.error).toMatchObject({ code: "delivery_attempts_exhausted" });
  expect((await typesOf(server, id)).slice(-3)).toEqual(["lost", "delivery_failed", "failed"]);
  await post(server, id, "retry");
  const again = await claimOne(server, "exhaust");
  expect(again).toMatchObject({ attempt: 4, lost_deliveries: 0, next_step: { key: "two" } });
  expect(again.steps[0]).toMatchObject({ key: "one", status: "done", result: "kept" });
  const last = await step(server, id, "two", { status: "done", attempt: 4, result: "end" });
  expect(last.body.intent_status).toBe("COMPLETED");
});

test("a step newly done clears the losses before it; a begin and a failed try do not", async () => {
  const id = await send(server, "progress", { steps: ["one", "two"], max_delivery_attempts: 3 });
  for (const attempt of [1, 2]) {
    await claimOne(server, "progress");
    await step(server, id, "one", { status: "running", attempt });
    await loseHolder(id);
    expect((await view(server, id)).lost_deliveries).toBe(attempt);
  }
  await claimOne(server, "progress");
  expect((await view(server, id)).lost_deliveries).toBe(2);
  await step(server, id, "one", { status: "done", attempt: 3 });
  expect((await view(server, id)).lost_deliveries).toBe(0);
  await loseHolder(id);
  expect(await view(server, id)).toMatchObject({ lost_deliveries: 1, status: "IN_PROGRESS" });
});

test("what crashes after every new step ends at the cap on all losses", async () => {
  const capped = await startTestServer({ env: { PERDURE_MAX_TOTAL_LOSSES: "4" } });
  try {
    const id = await send(capped, "cap", { steps: ["a", "b", "c", "d", "e", "f"] });
    for (const [index, key] of ["a", "b", "c", "d"].entries()) {
      await claimOne(capped, "cap");
      await step(capped, id, key, { status: "done", attempt: index + 1 });
      await capped.store.pool.query("update consumers set lease_until = perdure_now()");
      await until("the loss", async () => {
        const events = await eventsOf(capped, id);
        return events.filter((event) => event.event_type === "intent.lost").length === index + 1;
      });
    }
    expect((await view(capped, id)).error).toMatchObject({
      code: "delivery_attempts_exhausted",
      details: { cap: "max_total_losses" },
    });
  } finally {
    await capped.close();
  }
});

test("a retryable failure follows the intent's policy and ends as FAILED when it is used up", async () => {
  const retry = { max_retries: 2, initial_delay_ms: 50, factor: 2, max_delay_ms: 1_000 };
  const id = await send(server, "policy", { retry });
  for (const attempt of [1, 2]) {
    await claimOne(server, "policy");
    const answer = await post(server, id, "resolve", {
      status: "FAILED",
      attempt,
      error: { code: "flaky", message: "again" },
      retryable: true,
    });
    expect(answer.body.intent.status).not.toBe("FAILED");
    expect(answer.body.event).toMatchObject({
      event_type: "intent.retry_scheduled",
      details: { retry: attempt },
    });
  }
  const third = await claimOne(server, "policy");
  expect(third).toMatchObject({ attempt: 3, lost_deliveries: 0 });
  await post(server, id, "resolve", { status: "FAILED", attempt: 3, error: "again", retryable: true });
  expect(await view(server, id)).toMatchObject({ status: "FAILED", attempt: 3 });
});

test("a failure that is not retryable ends the intent whatever the policy", async () => {
  const id = await send(server, "final", { retry: { max_retries: 5 } });
  await claimOne(server, "final");
  await post(server, id, "resolve", { status: "FAILED", attempt: 1, error: { code: "bad", message: "no" } });
  expect(await view(server, id)).toMatchObject({ status: "FAILED", error: { code: "bad" } });
});

test("a step in doubt fails the intent when its on_interrupt says so", async () => {
  const id = await send(server, "doubt-fail", { steps: [{ key: "pay", on_interrupt: "fail" }] });
  await claimOne(server, "doubt-fail");
  await step(server, id, "pay", { status: "running", attempt: 1 });
  await loseHolder(id);
  expect(await view(server, id)).toMatchObject({
    status: "FAILED",
    error: { code: "step_interrupted", details: { step: "pay" } },
  });
});

/** An intent that waits for a human about its step "pay". */
async function inDoubt(address: string): Promise<string> {
  const id = await send(server, address, { steps: [{ key: "pay", on_interrupt: "ask" }, "ship"] });
  await claimOne(server, address);
  await step(server, id, "pay", { status: "running", attempt: 1 });
  await loseHolder(id);
  expect(await inStatus(server, id, "WAITING")).toMatchObject({
    lifecycle_waiting_reason: "WAITING_FOR_HUMAN",
  });
  return id;
}

test("a step in doubt asks; the answer done is its result and the work goes on behind it", async () => {
  const id = await inDoubt("doubt-done");
  await post(server, id, "steps/pay/decide", { done: { receipt: 7 } });
  const next = await claimOne(server, "doubt-done");
  expect(next).toMatchObject({ attempt: 2, lost_deliveries: 0, next_step: { key: "ship" } });
  expect(next.steps[0]).toMatchObject({ status: "done", result: { receipt: 7 } });
});

test("the answer retry runs the step again with the same key", async () => {
  const id = await inDoubt("doubt-retry");
  const running = (await eventsOf(server, id)).find((event) => event.event_type === "intent.step_running");
  await post(server, id, "steps/pay/decide", { retry: true });
  const next = await claimOne(server, "doubt-retry");
  expect(next.next_step).toMatchObject({
    key: "pay",
    interrupted: false,
    idempotency_key: running.details.idempotency_key,
  });
});

test("the answer fail ends the intent", async () => {
  const id = await inDoubt("doubt-no");
  await post(server, id, "steps/pay/decide", { fail: { code: "charged_twice", message: "asked the bank" } });
  expect(await view(server, id)).toMatchObject({ status: "FAILED", error: { code: "charged_twice" } });
});

test("a pause lets the running step finish, hands back behind it, and goes on when unpaused", async () => {
  const id = await send(server, "pause", { steps: ["one", "two"] });
  const listener = await agent(server, "pause", { ack: "explicit" });
  await listener.next("intent.delivered");
  await post(server, id, "start", { attempt: 1 });
  await post(server, id, "pause", { reason: "lunch" });
  expect((await listener.next("intent.paused")).data).toEqual({ intent_id: id, attempt: 1 });
  expect((await step(server, id, "two", { status: "running", attempt: 1 })).body.code).toBe("intent_paused");
  const done = await step(server, id, "one", { status: "done", attempt: 1, result: 1, begin_next: true });
  expect(done.status).toBe(200);
  expect(done.body.begun).toBeUndefined();
  expect((await step(server, id, "two", { status: "running", attempt: 1 })).body.code).toBe("stale_attempt");
  const paused = await view(server, id);
  expect(paused).toMatchObject({ paused: true, status: "IN_PROGRESS", lost_deliveries: 0 });
  const released = (await eventsOf(server, id)).find((event) => event.event_type === "intent.released");
  expect(released.details).toMatchObject({ reason: "paused" });
  await post(server, id, "unpause");
  const again = await listener.next("intent.delivered", 2);
  expect(again.data).toMatchObject({ attempt: 2, lost_deliveries: 0, next_step: { key: "two" } });
});

test("a paused intent is not delivered", async () => {
  const id = await send(server, "held-back");
  await post(server, id, "pause");
  const other = await send(server, "held-back");
  expect((await claimOne(server, "held-back")).intent_id).toBe(other);
  await post(server, id, "unpause");
  expect((await claimOne(server, "held-back", { consumer: "second" })).intent_id).toBe(id);
});

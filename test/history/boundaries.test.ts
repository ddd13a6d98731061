// Where a restore may land: other namespaces, another plan, the middle of a commit, another restore.
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { claimOne, eventsOf, inStatus, post, send, step, view } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server.close();
});

const stateOf = async (id: string) => {
  const { entries } = (await call(server, "GET", `/v1/state/intent:${id}`)).body;
  return Object.fromEntries(
    entries.map((entry: { key: string; value: unknown }) => [entry.key, entry.value]),
  );
};

test("a restore brings back state of an intent in another namespace", async () => {
  const id = await send(server, "agent://elsewhere/test/worker");
  const { attempt } = await claimOne(server, encodeURIComponent("agent://elsewhere/test/worker"));
  await step(server, id, "a", { status: "done", attempt, result: 1, state: [{ key: "n", value: 1 }] });
  const seq = (await view(server, id)).seq;
  await step(server, id, "b", {
    status: "done",
    attempt,
    result: 2,
    state: [
      { key: "n", value: 2 },
      { key: "m", value: 1 },
    ],
  });
  const { status } = await post(server, id, "restore", { to: seq });
  expect(status).toBe(200);
  expect(await stateOf(id)).toEqual({ n: 1 });
});

test("a superseded step is in doubt no longer", async () => {
  const id = await send(server, "doubtful");
  const { attempt } = await claimOne(server, "doubtful");
  await step(server, id, "a", { status: "running", attempt });
  await post(server, id, "restore", { to: 2 });
  const again = await claimOne(server, "doubtful");
  await step(server, id, "a", { status: "running", attempt: again.attempt });
  expect((await verifyDatabase(server.databaseUrl)).violations.filter((one) => one.intentId === id)).toEqual(
    [],
  );
});

test("a plan declared again after a restore has steps that are others to the world", async () => {
  const id = await send(server, "replanned");
  const { attempt } = await claimOne(server, "replanned");
  const one = await post(server, id, "start", { attempt, steps: ["a", "b"], begin_next: true });
  await step(server, id, "a", { status: "done", attempt, result: 1 });
  const { body } = await post(server, id, "restore", { to: 2 });
  expect(body.restored.superseded).toContain("a");
  const again = await claimOne(server, "replanned");
  await post(server, id, "start", { attempt: again.attempt, steps: ["a", "b"], begin_next: true });
  const keys = (await eventsOf(server, id))
    .filter((event) => event.event_type === "intent.step_running" && event.details.key === "a")
    .map((event) => event.details.idempotency_key);
  expect(new Set(keys).size, JSON.stringify(keys) + JSON.stringify(one.body.next_step)).toBe(2);
});

test("a step that another plan dropped is told as superseded by a restore to before it, and its children end", async () => {
  const id = await send(server, "dropped");
  const { attempt } = await claimOne(server, "dropped");
  const { seq } = await view(server, id);
  await post(server, id, "start", { attempt, steps: ["a"], begin_next: true });
  const link = { parent_intent_id: id, parent_attempt: attempt, parent_step: "a" };
  const child = await send(server, "dropped-child", link);
  await post(server, id, "start", { attempt, steps: ["b"], force: true });
  expect((await post(server, id, "restore", { to: seq })).body.restored.superseded).toEqual(["a"]);
  expect(await inStatus(server, child, "CANCELED")).toBeDefined();
});

test("a decided task that is restored to its end has ended as it was decided", async () => {
  const id = await send(server, "decided", {
    human_task: { title: "Well?", allowed_outcomes: ["yes", "no"] },
  });
  await post(server, id, "resume", { task_result: { outcome: "yes" } });
  const { seq, result } = await view(server, id);
  expect((await post(server, id, "restore", { to: seq })).status).toBe(200);
  expect(await view(server, id)).toMatchObject({ status: "COMPLETED", result });
  expect((await post(server, id, "restore", { to: seq })).body.restored.kept).toHaveLength(1);
});

test("a person's task that is assigned afresh is another to the outside world", async () => {
  const id = await send(server, "afresh", {
    human_task: { title: "Well?", allowed_outcomes: ["yes", "no"] },
  });
  const keyOf = async () =>
    (await call(server, "GET", `/v1/intents/${id}/steps`)).body.steps[0].idempotency_key;
  const first = await keyOf();
  await post(server, id, "restore", { to: (await view(server, id)).seq });
  expect(await keyOf()).toBe(first);
  expect((await post(server, id, "restore", { to: 0 })).status).toBe(200);
  expect(await keyOf()).not.toBe(first);
});

test("a restore counts the tries of a step as they were", async () => {
  const id = await send(server, "tries");
  const begin = async () => {
    const { attempt } = await claimOne(server, "tries");
    await step(server, id, "a", { status: "running", attempt });
    await post(server, id, "release", { attempt });
  };
  await begin();
  const { seq } = await view(server, id);
  await begin();
  await post(server, id, "restore", { to: seq });
  const { steps } = (await call(server, "GET", `/v1/intents/${id}/steps`)).body;
  expect(steps).toMatchObject([{ key: "a", status: "interrupted", tries: 1 }]);
});

test("the past tells also of a wait that was over at once", async () => {
  const id = await send(server, "at-once");
  await post(server, id, "signals/go", { data: 7 });
  const { attempt } = await claimOne(server, "at-once");
  await step(server, id, "a", { status: "waiting", attempt, wait: { signal: "go", timeout_seconds: 60 } });
  const { steps } = (await call(server, "GET", `/v1/intents/${id}/steps`)).body;
  const { seq } = await view(server, id);
  const past = (await call(server, "GET", `/v1/intents/${id}/steps?seq=${seq}`)).body.steps;
  expect(past).toMatchObject([{ key: "a", status: "done", result: 7, wait: steps[0].wait }]);
});

test("the past tells how a step in doubt failed that a person let fail", async () => {
  const id = await send(server, "let-fail", { on_interrupt: "ask" });
  const { attempt } = await claimOne(server, "let-fail");
  await step(server, id, "a", { status: "running", attempt });
  await post(server, id, "release", { attempt });
  await post(server, id, "steps/a/decide", { fail: true });
  const { seq, status } = await view(server, id);
  const { steps } = (await call(server, "GET", `/v1/intents/${id}/steps`)).body;
  const past = (await call(server, "GET", `/v1/intents/${id}/steps?seq=${seq}`)).body.steps;
  expect(status).toBe("FAILED");
  expect(past[0].error).toEqual(steps[0].error);
});

test("a restore into the middle of a commit takes all of it", async () => {
  const id = await send(server, "mid-commit");
  const { attempt } = await claimOne(server, "mid-commit");
  await step(server, id, "a", { status: "running", attempt });
  await step(server, id, "a", { status: "done", attempt, result: 1, state: [{ key: "n", value: 1 }] });
  const change = (await eventsOf(server, id)).find((event) => event.event_type === "intent.state_changed");
  await post(server, id, "restore", { to: change?.seq });
  const { steps } = (await call(server, "GET", `/v1/intents/${id}/steps`)).body;
  const state = await stateOf(id);
  expect([steps[0].status === "done", "n" in state]).toEqual([true, true]);
});

test("a restore to a restore takes its state with it", async () => {
  const id = await send(server, "restored-twice");
  const { attempt } = await claimOne(server, "restored-twice");
  await step(server, id, "a", { status: "done", attempt, result: 1, state: [{ key: "n", value: 1 }] });
  await post(server, id, "restore", { to: 2 });
  const seq = (await eventsOf(server, id)).find((event) => event.event_type === "intent.restored")?.seq;
  const again = await claimOne(server, "restored-twice");
  await step(server, id, "a", {
    status: "done",
    attempt: again.attempt,
    result: 1,
    state: [{ key: "n", value: 2 }],
  });
  await post(server, id, "restore", { to: seq });
  expect(await stateOf(id)).toEqual({});
});

test("a restore in a database that was restored from a back-up lands where it is told to", async () => {
  const id = await send(server, "backed-up");
  const { attempt } = await claimOne(server, "backed-up");
  await step(server, id, "a", { status: "done", attempt, result: 1 });
  const seq = (await view(server, id)).seq;
  await step(server, id, "b", { status: "done", attempt, result: 2 });
  // Everything comes back in one transaction.
  await server.store.pool.query("update events set actor = actor where intent_id = $1", [id]);
  const { body } = await post(server, id, "restore", { to: seq });
  expect(body.restored).toMatchObject({ seq, kept: ["a"], superseded: ["b"] });
});

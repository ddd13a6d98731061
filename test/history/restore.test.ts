// Going back: to a checkpoint, to any log entry, and forward again. History is never rewritten.
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  claimOne,
  eventsOf,
  inStatus,
  listen,
  post,
  send,
  step,
  typesOf,
  view,
} from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server.close();
});

// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came
type Body = any;

const done = (
  id: string,
  key: string,
  attempt: number,
  result: unknown,
  more: Record<string, unknown> = {},
) => step(server, id, key, { status: "done", attempt, result, ...more });
const begin = (id: string, key: string, attempt: number) =>
  step(server, id, key, { status: "running", attempt });
const name = (id: string, checkpoint: string, body: Record<string, unknown> = {}) =>
  call(server, "PUT", `/v1/intents/${id}/checkpoints/${checkpoint}`, body);
const restore = (id: string, to: string | number) => post(server, id, "restore", { to });
const steps = async (id: string): Promise<Body[]> =>
  (await call(server, "GET", `/v1/intents/${id}/steps`)).body.steps;
const stepsAt = async (id: string, seq: number): Promise<Body[]> =>
  (await call(server, "GET", `/v1/intents/${id}/steps?seq=${seq}`)).body.steps;
const seqOf = async (id: string): Promise<number> => (await view(server, id)).seq;
const stateOf = async (id: string): Promise<Record<string, unknown>> => {
  const { entries } = (await call(server, "GET", `/v1/state/intent:${id}`)).body;
  return Object.fromEntries(entries.map((entry: Body) => [entry.key, entry.value]));
};

test("a restore to a checkpoint keeps what was done by then and supersedes the rest", async () => {
  const id = await send(server, "back");
  const { attempt } = await claimOne(server, "back");
  await done(id, "a", attempt, 1, { state: [{ key: "n", value: 1 }] });
  const named = await name(id, "after-a", { attempt, metadata: { why: "safe" } });
  expect(named.body).toMatchObject({
    checkpoint: { name: "after-a", steps_done: 1, metadata: { why: "safe" } },
    replayed: false,
  });
  await done(id, "b", attempt, 2, {
    state: [
      { key: "n", value: 2 },
      { key: "m", value: 1 },
    ],
  });
  await begin(id, "c", attempt);
  const before = await steps(id);

  const answer = await restore(id, "after-a");
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  expect(answer.body.restored).toMatchObject({
    name: "after-a",
    kept: ["a"],
    run_again: [],
    superseded: ["b", "c"],
  });
  expect(await stateOf(id)).toEqual({ n: 1 });
  // The holder is fenced, and told so.
  expect((await done(id, "c", attempt, 3)).body.code).toBe("stale_attempt");

  const again = await claimOne(server, "back");
  expect(again.attempt).toBe(attempt + 1);
  expect(again.steps).toMatchObject([{ key: "a", status: "done", result: 1 }]);
  await begin(id, "b", again.attempt);
  const b = (await steps(id)).find((one) => one.key === "b");
  // Another generation of the step is another to the outside world.
  expect(b.idempotency_key).not.toBe(before.find((one) => one.key === "b").idempotency_key);
});

test("a restore can be undone by restoring to the entry before it", async () => {
  const id = await send(server, "undo", { steps: ["a", "b", "c"] });
  const { attempt } = await claimOne(server, "undo");
  await done(id, "a", attempt, { big: 1 }, { state: [{ key: "n", value: 1 }] });
  const after = await seqOf(id);
  await done(id, "b", attempt, 2, {
    state: [
      { key: "n", value: null },
      { key: "x", value: [1] },
    ],
  });
  await post(server, id, "release", { attempt });
  const last = await seqOf(id);
  const before = await steps(id);
  const memory = await stateOf(id);

  await restore(id, after);
  expect((await steps(id)).map((one) => one.status)).toEqual(["done", "planned", "planned"]);
  expect(await stateOf(id)).toEqual({ n: 1 });
  expect(await view(server, id)).toMatchObject({ progress: { done: 1, total: 3 } });
  await restore(id, last);
  expect(await steps(id)).toEqual(before);
  expect(await stateOf(id)).toEqual(memory);
  expect((await claimOne(server, "undo")).next_step.key).toBe("c");
});

test("what was begun by then and not done by then is in doubt, under the same idempotency key", async () => {
  const id = await send(server, "doubt");
  const { attempt } = await claimOne(server, "doubt");
  await begin(id, "charge", attempt);
  const seq = await seqOf(id);
  await done(id, "charge", attempt, "ok");
  const [first] = await steps(id);
  const answer = await restore(id, seq);
  expect(answer.body.restored).toMatchObject({ run_again: ["charge"], kept: [] });
  expect(await steps(id)).toMatchObject([
    { status: "interrupted", interrupted: true, idempotency_key: first.idempotency_key },
  ]);
  expect((await view(server, id)).in_doubt).toEqual(["charge"]);
});

test("a restore to 0 starts afresh, also an intent that has ended", async () => {
  const id = await send(server, "fresh", { steps: ["a", "b"] });
  const { attempt } = await claimOne(server, "fresh");
  await done(id, "a", attempt, 1);
  await done(id, "b", attempt, 2);
  expect((await inStatus(server, id, "COMPLETED")).result).toBe(2);
  await restore(id, 1);
  expect(await view(server, id)).toMatchObject({
    status: "SUBMITTED",
    result: null,
    progress: { done: 0, total: 2 },
  });
  const again = await claimOne(server, "fresh");
  expect(again).toMatchObject({ attempt: attempt + 1, next_step: { key: "a", index: 0 } });
  await done(id, "a", again.attempt, 10);
  await done(id, "b", again.attempt, 20);
  expect((await inStatus(server, id, "COMPLETED")).result).toBe(20);
  await restore(id, 0);
  expect((await view(server, id)).progress).toEqual({ done: 0 });
});

test("a streaming holder is told at once that it lost the intent to a restore", async () => {
  const agent = await listen(server, "told", { consumer: "a", ack: "explicit" });
  const id = await send(server, "told");
  await agent.next("intent.delivered");
  await restore(id, 1);
  expect((await agent.next("intent.lost")).data).toMatchObject({
    intent_id: id,
    attempt: 1,
    reason: "restored",
  });
  expect((await agent.next("intent.delivered", 2)).data).toMatchObject({ attempt: 2, lost_deliveries: 0 });
  agent.cut();
});

test("a holder that names a place twice keeps the first; an operator moves the name", async () => {
  const id = await send(server, "names");
  const { attempt } = await claimOne(server, "names");
  const first = await name(id, "here", { attempt });
  await done(id, "a", attempt, 1);
  expect((await name(id, "here", { attempt })).body).toMatchObject({
    replayed: true,
    checkpoint: first.body.checkpoint,
  });
  const moved = await name(id, "here");
  expect(moved.body.checkpoint.seq).toBeGreaterThan(first.body.checkpoint.seq);
  expect((await name(id, "late", { attempt: attempt + 1 })).body.code).toBe("stale_attempt");
  const list = (await call(server, "GET", `/v1/intents/${id}/checkpoints`)).body.checkpoints;
  expect(list).toEqual([moved.body.checkpoint]);
  expect((await call(server, "DELETE", `/v1/intents/${id}/checkpoints/here`)).status).toBe(200);
  expect((await restore(id, "here")).body.code).toBe("checkpoint_not_found");
  expect((await restore(id, 10_000)).status).toBe(422);
});

test("a restore gives back the signals that superseded waits took, and ends the children that superseded steps sent", async () => {
  const id = await send(server, "takes");
  const { attempt } = await claimOne(server, "takes");
  const seq = await seqOf(id);
  await call(server, "POST", `/v1/intents/${id}/signals/go`, { data: 7 });
  await step(server, id, "wait", { status: "waiting", attempt, wait: { signal: "go" } });
  const child = (
    await call(server, "POST", "/v1/intents", {
      intent_type: "c",
      to_agent: "c",
      parent_intent_id: id,
      parent_attempt: attempt,
      parent_step: "send",
    })
  ).body.intent_id;
  await done(id, "send", attempt, child);
  const end = await seqOf(id);
  await restore(id, seq);
  await inStatus(server, child, "CANCELED");
  const again = await claimOne(server, "takes");
  const taken = await step(server, id, "wait", {
    status: "waiting",
    attempt: again.attempt,
    wait: { signal: "go" },
  });
  expect(taken.body.step).toMatchObject({ status: "done", result: 7 });
  // Forward again: the wait is done as it was, and its signal is not there a second time.
  await restore(id, end);
  const last = await claimOne(server, "takes");
  const other = { status: "waiting", attempt: last.attempt, wait: { signal: "go" } };
  expect((await step(server, id, "other", other)).body.intent_status).toBe("WAITING");
});

test("the restore of an intent that waits ends the wait, and it is waited for again", async () => {
  const id = await send(server, "waiting");
  const { attempt } = await claimOne(server, "waiting");
  await step(server, id, "nap", { status: "waiting", attempt, wait: { signal: "go" } });
  await restore(id, await seqOf(id));
  const again = await claimOne(server, "waiting");
  const parked = await step(server, id, "nap", {
    status: "waiting",
    attempt: again.attempt,
    wait: { signal: "go" },
  });
  expect(parked.body.intent_status).toBe("WAITING");
  expect(await typesOf(server, id)).not.toContain("lost");
});

test("an export of much is read in pages that end by their bytes, and holds all of it in order", async () => {
  const id = await send(server, "large-export");
  const names = Array.from({ length: 12 }, (_, n) => `s${n}`);
  for (const name of names) await post(server, id, `signals/${name}`, { data: "x".repeat(900_000) });
  const pages: number[] = [];
  const query = server.store.pool.query.bind(server.store.pool);
  server.store.pool.query = (async (...args: unknown[]) => {
    const answer = await (query as (...all: unknown[]) => Promise<{ rows: unknown[] }>)(...args);
    if (String(args[0]).includes("from signals")) pages.push(answer.rows.length);
    return answer;
  }) as unknown as typeof server.store.pool.query;
  try {
    const lines = (await (await fetch(`${server.url}/v1/intents/${id}/export`)).text()).trim().split("\n");
    const signals = lines.map((line) => JSON.parse(line)).filter((line) => line.kind === "signal");
    expect(signals.map((one) => one.name)).toEqual(names);
    expect(pages).toEqual([4, 4, 4, 0]);
  } finally {
    server.store.pool.query = query;
  }
});

test("steps as they were after any entry are told, and an export holds all of it", async () => {
  const id = await send(server, "export", { steps: ["a", "b"] });
  const { attempt } = await claimOne(server, "export");
  const told: { seq: number; steps: Body[] }[] = [];
  const note = async () => told.push({ seq: await seqOf(id), steps: await steps(id) });
  await note();
  await begin(id, "a", attempt);
  await note();
  await done(id, "a", attempt, { n: "9007199254740993" }, { state: [{ key: "k", value: 1 }] });
  await note();
  await post(server, id, "release", { attempt });
  await note();
  for (const { seq, steps: then } of told) {
    const past = await stepsAt(id, seq);
    expect(past.map(({ key, status, tries, result }) => ({ key, status, tries, result }))).toEqual(
      then.map(({ key, status, tries, result }) => ({ key, status, tries, result })),
    );
  }
  await name(id, "end");
  const response = await fetch(`${server.url}/v1/intents/${id}/export`);
  expect(response.headers.get("content-type")).toContain("application/x-ndjson");
  const lines = (await response.text())
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines[0]).toMatchObject({ kind: "intent", intent_id: id });
  expect(lines.filter((line) => line.kind === "event").map(({ kind: _, ...event }) => event)).toEqual(
    await eventsOf(server, id),
  );
  expect(lines.find((line) => line.kind === "state")).toMatchObject({ key: "k", version: 1, value: 1 });
  expect(lines.find((line) => line.kind === "checkpoint")).toMatchObject({ name: "end" });
});

test("a number that JavaScript cannot hold survives a restore to and fro", async () => {
  const id = await send(server, "exact");
  const { attempt } = await claimOne(server, "exact");
  const start = await seqOf(id);
  await call(
    server,
    "PUT",
    `/v1/intents/${id}/steps/a`,
    `{"status":"done","attempt":${attempt},"result":9007199254740993,"state":[{"key":"n","value":1.00}]}`,
  );
  const end = await seqOf(id);
  await restore(id, start);
  await restore(id, end);
  const text = await (await fetch(`${server.url}/v1/intents/${id}/steps`)).text();
  expect(text).toContain('"result":9007199254740993');
  const state = await (await fetch(`${server.url}/v1/state/intent:${id}/n`)).text();
  expect(state).toContain('"value":1.00');
});

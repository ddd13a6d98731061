// Scenarios: a bundle becomes one intent, or a parent that the server leads through the tasks of agents and people.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { claimOne, eventsOf, inStatus, listen, post, typesOf, view } from "../delivery/listener.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { bundle, PAYLOAD, signOff, task } from "./bundles.ts";
import { AxpCli, CliError } from "./clients/cli.ts";
import { AxpClient } from "./clients/rest.ts";
import { valid } from "./schemas.ts";

let server: TestServer;
let axp: AxpClient;
let cli: AxpCli;
beforeAll(async () => {
  server = await startTestServer();
  axp = new AxpClient(server.url);
  cli = new AxpCli(server.url);
});
afterAll(async () => {
  expect((await verifyDatabase(server.databaseUrl)).violations).toEqual([]);
  await server.close();
});

const apply = async (body: object, headers: Record<string, string> = {}) => {
  const answer = await call(server, "POST", "/v1/scenarios/apply", body, headers);
  expect(answer.body).toMatchObject({ ok: true });
  return valid("scenario", answer.body);
};
const children = async (id: string) =>
  (await call(server, "GET", `/v1/intents?parent_intent_id=${id}&include=payload`)).body.intents.reverse();

/** The agent of a role takes its intent and completes it. */
async function work(role: string, result: object): Promise<string> {
  const { intent_id } = await claimOne(server, `${role}-agent`, { consumer: `c-${role}` });
  await axp.resume(intent_id, { action: "complete", ...result }, {});
  return intent_id;
}

test("the scenario of one task is that agent's intent, with its losses and its time", async () => {
  const answer = await apply(bundle([task("run", "pipeline")], ["pipeline"]));
  expect(answer).toMatchObject({ scenario_id: "release.v1", status: "SUBMITTED" });
  expect(answer.agents_provisioned).toMatchObject([
    { role: "pipeline", address: "agent://local/dev/pipeline-agent" },
  ]);
  const intent = await view(server, answer.intent_id);
  expect(intent).toMatchObject({
    intent_type: "intent.release.v1",
    to_agent: "pipeline-agent",
    payload: PAYLOAD,
    max_delivery_attempts: 2,
    metadata: { scenario_id: "release.v1" },
  });
  const frame = await claimOne(server, "pipeline-agent");
  expect(frame.intent_id).toBe(answer.intent_id);
  expect(await children(answer.intent_id)).toEqual([]);
});

test("a payload arrives as it was written, in one intent as in children", async () => {
  const text = (steps: object[]) =>
    JSON.stringify(bundle(steps, ["exact"])).replace('"3.5.0"', "12345678901234567890");
  for (const steps of [[task("a", "exact")], [task("a", "exact"), task("b", "exact")]]) {
    await call(server, "POST", "/v1/scenarios/apply", text(steps));
    const { intent_id } = await claimOne(server, "exact-agent", { consumer: `exact-${steps.length}` });
    const read = await (await fetch(`${server.url}/v1/intents/${intent_id}`)).text();
    expect(read).toContain('"version":12345678901234567890');
  }
});

test("several tasks are children of a parent, one after the other, each with the parent's payload", async () => {
  const steps = [task("build", "builder"), task("scan", "scanner", { input: { deep: true } })];
  const { intent_id: id, status } = await apply(bundle(steps, ["builder", "scanner"]));
  expect(status).toBe("WAITING");
  const before = valid("get", await axp.getIntent(id)).intent;
  expect(before).toMatchObject({
    lifecycle_waiting_reason: "WAITING_FOR_AGENT",
    pending_with: { type: "agent", name: "builder-agent" },
    progress: { done: 0, total: 2, current: "build" },
  });
  expect(await children(id)).toHaveLength(1);
  const first = await work("builder", { image: "abc" });
  const second = await work("scanner", { findings: 0 });
  const done = await inStatus(server, id, "COMPLETED");
  expect(done.result).toEqual({
    scenario_id: "release.v1",
    steps: {
      build: { status: "done", intent_id: first },
      scan: { status: "done", intent_id: second },
    },
    result: { findings: 0 },
  });
  const [a, b] = await children(id);
  expect(a.payload).toEqual({
    parent_payload: PAYLOAD,
    scenario_id: "release.v1",
    step_id: "build",
    tool_id: "tool.agent.task.v1",
  });
  expect(b).toMatchObject({
    payload: { step_id: "scan", input: { deep: true } },
    max_delivery_attempts: 2,
    parent_step: "scan",
  });
});

test("a person is asked between two tasks, and the command line decides", async () => {
  const steps = [task("check", "checker"), signOff("approve"), task("deploy", "deployer")];
  const { intent_id: id } = await apply(bundle(steps, ["checker", "deployer"]));
  await work("checker", { passed: true });
  await until("the question", async () => (await cli.tasks()).some((one) => one.id === id));
  valid("tasks", (await call(server, "GET", "/v1/me/tasks")).body);
  expect(await cli.task(id)).toMatchObject({ title: "May it go out?", assignees: ["board@example.com"] });
  const waiting = await view(server, id);
  expect(waiting).toMatchObject({ status: "WAITING", lifecycle_waiting_reason: "WAITING_FOR_HUMAN" });
  expect(await children(id)).toHaveLength(1);
  await cli.decide(id, "approved", "go");
  await work("deployer", { url: "https://x" });
  expect((await inStatus(server, id, "COMPLETED")).result).toMatchObject({
    steps: { approve: { outcome: "approved" } },
    result: { url: "https://x" },
  });
  const types = await typesOf(server, id);
  expect(types.filter((type) => type === "human_task_assigned")).toHaveLength(1);
});

test("a rejection ends the scenario, and what comes after it is never begun", async () => {
  const { intent_id: id } = await apply(
    bundle([signOff("approve"), task("deploy", "deployer")], ["deployer"]),
  );
  await cli.decide(id, "rejected", "too risky");
  const failed = await inStatus(server, id, "FAILED");
  expect(failed.error).toMatchObject({
    code: "rejected",
    message: expect.stringMatching(/approve.*rejected: too risky/),
  });
  expect(await children(id)).toEqual([]);
});

test("a failing child fails the scenario; a retry runs its step anew and keeps what is done", async () => {
  const steps = [task("build", "builder"), task("scan", "scanner")];
  const { intent_id: id } = await apply(bundle(steps, ["builder", "scanner"]));
  const built = await work("builder", { n: 1 });
  const { intent_id: scan } = await claimOne(server, "scanner-agent");
  await axp.resume(scan, { action: "fail", reason: "no scanner" });
  const failed = await inStatus(server, id, "FAILED");
  expect(failed.error.message).toMatch(/scan.*no scanner/);
  await post(server, id, "retry");
  const again = await work("scanner", { n: 2 });
  expect(again).not.toBe(scan);
  expect((await inStatus(server, id, "COMPLETED")).result.steps).toMatchObject({
    build: { intent_id: built },
    scan: { intent_id: again },
  });
});

test("what is to be done on failure is done, and the scenario goes on from there", async () => {
  const steps = [
    task("deploy", "deployer", { on_success: "announce", on_failure: "roll_back" }),
    task("announce", "announcer"),
    task("roll_back", "deployer"),
  ];
  const { intent_id: id } = await apply(bundle(steps, ["deployer", "announcer"]));
  const { intent_id: deploy } = await claimOne(server, "deployer-agent", { consumer: "d1" });
  await axp.resume(deploy, { action: "fail", reason: "down" });
  await work("deployer", { restored: true });
  expect((await inStatus(server, id, "COMPLETED")).result).toMatchObject({
    steps: { deploy: { status: "failed" }, roll_back: { status: "done" } },
    result: { restored: true },
  });
  expect(await children(id)).toHaveLength(2);
});

test("a person who does not answer in time fails the step", async () => {
  const { intent_id: id } = await apply(
    bundle([signOff("approve", { step_deadline_seconds: 0.1 }), task("deploy", "deployer")], ["deployer"]),
  );
  expect((await inStatus(server, id, "FAILED")).error).toMatchObject({ code: "wait_timeout" });
});

test("canceling the parent takes its child along", async () => {
  const { intent_id: id } = await apply(
    bundle([task("build", "lonely"), task("scan", "scanner")], ["lonely", "scanner"]),
  );
  const [child] = await children(id);
  await cli.cancel(id);
  await inStatus(server, child.intent_id, "CANCELED");
});

test("the parent is handed to nobody, whoever listens where it came from", async () => {
  const listener = await listen(server, "developer", { capacity: 5 });
  const { intent_id: id } = await apply(
    bundle([signOff("first"), signOff("second", { human_task: { title: "Sure?" } })], []),
  );
  await cli.decide(id, "approved");
  await until("the second question", async () => (await cli.task(id))?.title === "Sure?");
  await cli.decide(id, "approved");
  await inStatus(server, id, "COMPLETED");
  expect(listener.deliveries()).toEqual([]);
  expect(await typesOf(server, id)).not.toContain("delivered");
  listener.cut();
});

test("a paused parent begins nothing until it is unpaused", async () => {
  const { intent_id: id } = await apply(
    bundle([task("build", "builder"), task("scan", "scanner")], ["builder", "scanner"]),
  );
  await post(server, id, "pause");
  await work("builder", {});
  await until("the step is done", async () => (await view(server, id)).progress.done === 1);
  expect(await children(id)).toHaveLength(1);
  await post(server, id, "unpause");
  await work("scanner", {});
  await inStatus(server, id, "COMPLETED");
});

test("a restore leads it again from there: later steps get new children", async () => {
  const { intent_id: id } = await apply(
    bundle([task("build", "builder"), task("scan", "scanner")], ["builder", "scanner"]),
  );
  await work("builder", {});
  const first = await work("scanner", { n: 1 });
  await inStatus(server, id, "COMPLETED");
  const built = (await eventsOf(server, id)).find(
    (event) => event.event_type === "intent.step_done" && event.details.key === "build",
  );
  await post(server, id, "restore", { to: built.seq });
  const second = await work("scanner", { n: 2 });
  expect(second).not.toBe(first);
  expect((await inStatus(server, id, "COMPLETED")).result.result).toEqual({ n: 2 });
});

test("applying is done once per key: all of it or nothing, and the same answer again", async () => {
  const body = bundle([task("build", "keyed"), signOff("approve")], ["keyed"]);
  const headers = { "Idempotency-Key": "apply-1" };
  const answers = await Promise.all([apply(body, headers), apply(body, headers), apply(body, headers)]);
  const [first] = answers;
  expect(new Set(answers.map((answer) => answer.intent_id)).size).toBe(1);
  expect(await children(first.intent_id)).toHaveLength(1);
  const other = { ...body, title: "Another" };
  expect((await call(server, "POST", "/v1/scenarios/apply", other, headers)).status).toBe(409);
  const inBody = { ...body, idempotency_key: "in-the-body" };
  expect((await apply(inBody)).intent_id).toBe((await apply(inBody)).intent_id);
  // Without a key, every apply is a new one.
  expect((await apply(body)).intent_id).not.toBe((await apply(body)).intent_id);
});

test("a server that dies between two steps loses nothing: the next one goes on", async () => {
  const database = await createTestDatabase();
  const first = await startTestServer({ databaseUrl: database.url });
  const steps = [task("build", "builder"), signOff("approve")];
  const applied = await call(first, "POST", "/v1/scenarios/apply", bundle(steps, ["builder"]));
  const id = applied.body.intent_id;
  const { intent_id: child } = await claimOne(first, "builder-agent");
  // As a kill leaves it: the child has ended, and nobody has told its parent.
  await first.sweepers.outbox.stop();
  await first.sweepers.pulse.stop();
  await post(first, child, "resume", { action: "complete" });
  expect(await view(first, id)).toMatchObject({ status: "WAITING", progress: { done: 0 } });
  await first.close();
  const second = await startTestServer({ databaseUrl: database.url });
  try {
    await until("the question", async () => (await view(second, id)).human_task !== undefined);
    await new AxpCli(second.url).decide(id, "approved");
    await inStatus(second, id, "COMPLETED");
  } finally {
    await second.close();
    await database.drop();
  }
});

describe("a bundle that cannot be", () => {
  const wrong: [string, object, RegExp][] = [
    [
      "a step that is nobody's",
      bundle([{ step_id: "notify", tool_id: "tool.notify" }, task("a", "x")], ["x"]),
      /steps\/0\/assigned_to.*no tools/,
    ],
    ["an address that is none", bundle([task("a", "not an address")], []), /steps\/0\/assigned_to.*address/],
    ["two steps of one name", bundle([task("a", "x"), task("a", "x")], ["x"]), /step_ids must be different/],
    [
      "a step after which comes none that is there",
      bundle([task("a", "x", { on_success: "z" })], ["x"]),
      /on_success.*none of the steps/,
    ],
    [
      "steps in a circle",
      bundle([task("a", "x", { on_success: "b" }), task("b", "x", { on_success: "a" })], ["x"]),
      /lead back/,
    ],
    [
      "an entry that is not there",
      bundle([], ["x"], { workflow: { steps: [task("a", "x")], entry_step: "z" } }),
      /entry_step/,
    ],
    ["no steps and several agents", bundle([], ["x", "y"]), /steps.*needed/],
    [
      "a macro",
      bundle([task("a", "x")], ["x"], { workflow: { macro_id: "m", steps: [task("a", "x")] } }),
      /macro_id/,
    ],
  ];
  test.each(wrong)("%s: it is said where, and nothing is stored", async (_, body, reason) => {
    const { errors } = await cli.validate(body);
    expect(errors.join("\n")).toMatch(reason);
    await expect(cli.apply(body)).rejects.toThrow(CliError);
    const answer = await call(server, "POST", "/v1/scenarios/apply", body);
    expect(answer.status).toBe(422);
    valid("problem", answer.body);
  });

  test("one that can be is valid, and steps that nobody reaches are told", async () => {
    const sound = bundle([task("a", "x"), signOff("b")], ["x"]);
    const answer = valid("validation", (await call(server, "POST", "/v1/scenarios/validate", sound)).body);
    expect(answer).toMatchObject({ valid: true, errors: [] });
    const island = bundle([task("a", "x", { on_success: "b" }), task("b", "x"), task("c", "x")], ["x"]);
    expect((await cli.validate(island)).warnings.join()).toMatch(/"c" is never reached/);
    const { body } = await call(server, "GET", "/v1/intents?intent_type=intent.release.v1&limit=1");
    expect(body.intents[0].metadata.scenario_id).toBe("release.v1");
  });

  test("without a workflow the only agent does it, or the person who is asked", async () => {
    const one = await apply(bundle([], ["sole"]));
    expect((await view(server, one.intent_id)).to_agent).toBe("sole-agent");
    const asked = await apply(bundle([], [], { intent: { type: "t.v1", human_task: { title: "Well?" } } }));
    expect((await view(server, asked.intent_id)).human_task).toMatchObject({ title: "Well?" });
    expect((await cli.decide(asked.intent_id, "approved")).status).toBe("COMPLETED");
  });
});

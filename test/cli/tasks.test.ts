// What waits for a person or a signal, decided from the command line against a real server.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { perdure } from "./terminal.ts";

let server: TestServer;
let named = 0;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const cli = (...argv: string[]) => perdure(server.url, argv);
const freshAddress = () => `worker-${++named}`;

async function ask(...more: string[]): Promise<string> {
  const ran = await cli("send", "people", "question.v1", "--human", "Ship it?", ...more);
  expect(ran).toMatchObject({ exit: 0, err: "" });
  return ran.out.trim();
}

/** An intent with an open first attempt, ready to record steps. */
async function begin(more: object = {}): Promise<string> {
  const address = freshAddress();
  const { body } = await call(server, "POST", "/v1/intents", {
    intent_type: "job.v1",
    to_agent: address,
    ...more,
  });
  const claimed = await call(server, "POST", `/v1/agents/${address}/claim`, {});
  expect(claimed.body.deliveries).toHaveLength(1);
  return body.intent_id;
}

async function waits(id: string, key: string, wait: object): Promise<void> {
  const { status, body } = await call(server, "PUT", `/v1/intents/${id}/steps/${key}`, {
    status: "waiting",
    attempt: 1,
    wait,
  });
  expect({ status, ...body }).toMatchObject({ status: 200, step: { status: "waiting" } });
}

async function resultOf(id: string) {
  const { out, exit } = await cli("get", id, "--result");
  return { exit, result: out === "" ? undefined : JSON.parse(out) };
}

async function stepOf(id: string, key: string) {
  const { body } = await call(server, "GET", `/v1/intents/${id}/steps`);
  return body.steps.find((step: { key: string }) => step.key === key);
}

describe("tasks", () => {
  test("says when nothing waits for a person", async () => {
    expect(await cli("tasks")).toEqual({ exit: 0, out: "", err: "no task waits for a decision\n" });
  });

  test("--assignee lists what is for that one, or for anybody, and --limit says when there is more", async () => {
    const ids: string[] = [];
    for (const assignees of [["ada"], [], ["grace"]]) {
      const id = await begin();
      await waits(id, "sign", { human_task: { title: `for ${assignees[0] ?? "anybody"}`, assignees } });
      ids.push(id);
    }
    const { out } = await cli("tasks", "--assignee", "ada");
    expect(out.match(/for \w+$/gm)).toEqual(["for ada", "for anybody"]);
    const one = await cli("tasks", "--assignee", "ada", "--limit", "1");
    expect(one.out.match(/for \w+$/gm)).toEqual(["for ada"]);
    expect(one.err).toContain("there are more than 1");
    for (const id of ids) await cli("approve", id);
    expect((await cli("tasks")).out).toBe("");
  });
});

describe("a question sent with --human", () => {
  test("is listed among the tasks and approved, which is its result", async () => {
    const id = await ask();
    const listed = await cli("tasks");
    expect(listed.out).toMatch(/^ID +STEP +FROM +WAITS +DUE +ASSIGNEES +OUTCOMES +TITLE$/m);
    expect(listed.out).toMatch(new RegExp(`^${id} +human_task .* approved, rejected +Ship it\\?$`, "m"));
    const ran = await cli("approve", id.slice(-8), "--comment", "looks good");
    expect(ran).toEqual({
      exit: 0,
      out: `${id}  human_task decided: approved, now COMPLETED\n`,
      err: "",
    });
    expect(await resultOf(id)).toMatchObject({
      exit: 0,
      result: { outcome: "approved", comment: "looks good" },
    });
    expect((await cli("tasks")).out).not.toContain(id);
  });

  test("is rejected by reject", async () => {
    const id = await ask();
    expect((await cli("reject", id)).out).toContain("decided: rejected, now COMPLETED");
    expect((await resultOf(id)).result).toMatchObject({ outcome: "rejected" });
  });

  test("takes the outcomes it allows: the first to approve, the last to reject, and says which", async () => {
    const first = await ask("--outcomes", "ship, hold, drop");
    const approved = await cli("approve", first);
    expect(approved.out).toContain("decided: ship,");
    expect(approved.err).toBe(
      "human_task does not allow approved (but ship, hold, drop): took ship; --outcome takes another\n",
    );
    const last = await ask("--outcomes", "ship,hold,drop");
    expect((await cli("reject", last)).out).toContain("decided: drop,");
    const chosen = await ask("--outcomes", "ship,hold,drop");
    expect(await cli("approve", chosen, "--outcome", "hold")).toMatchObject({ exit: 0, err: "" });
    expect((await resultOf(chosen)).result).toMatchObject({ outcome: "hold" });
  });

  test("is never approved with rejected, nor rejected with what would approve it", async () => {
    const twisted = await ask("--outcomes", "rejected,ship");
    expect((await cli("approve", twisted)).out).toContain("decided: ship,");
    const single = await ask("--outcomes", "approved");
    const ran = await cli("reject", single);
    expect(ran).toMatchObject({ exit: 2, out: "" });
    expect(ran.err).toContain(
      "no outcome of human_task is one to reject it with; choose by --outcome: approved",
    );
  });

  test("and decided so again says so, decided otherwise is refused", async () => {
    const id = await ask();
    await cli("approve", id);
    const again = await cli("approve", id);
    expect(again).toMatchObject({ exit: 0, err: "" });
    expect(again.out).toContain("was decided so before: approved, now COMPLETED");
    const custom = await ask("--outcomes", "ship,hold");
    await cli("approve", custom);
    expect((await cli("approve", custom)).out).toContain("was decided so before: ship,");
    const other = await cli("reject", id, "--json");
    expect(other).toMatchObject({ exit: 1, out: "" });
    expect(JSON.parse(other.err)).toMatchObject({ ok: false, code: "already_decided" });
  });

  test("and an outcome it does not allow is refused with those it does", async () => {
    const id = await ask();
    const ran = await cli("approve", id, "--outcome", "maybe");
    expect(ran).toMatchObject({ exit: 2, out: "" });
    expect(ran.err).toMatch(/outcome.*"approved", "rejected"/);
  });
});

test("--outcomes and --json show what the API has", async () => {
  const id = await ask("--outcomes", "yes,no");
  const lines = (await cli("tasks", "--all", "--json")).out.trim().split("\n");
  const task = lines.map((line) => JSON.parse(line)).find(({ intent_id }) => intent_id === id);
  expect(task).toMatchObject({ step: "human_task", human_task: { allowed_outcomes: ["yes", "no"] } });
  const { out } = await cli("approve", id, "--json");
  expect(JSON.parse(out)).toMatchObject({ ok: true, applied: true, intent: { status: "COMPLETED" } });
});

describe("a step that waits for a person", () => {
  const FORM = {
    type: "object",
    required: ["amount"],
    properties: { amount: { type: "integer" }, account: { type: "string" } },
  };

  test("is shown by steps, and goes on with the decision, its data by its form", async () => {
    const id = await begin();
    await waits(id, "review", { human_task: { title: "Pay?", form_schema: FORM, required_comment: true } });
    expect((await cli("steps", id)).out).toMatch(
      /^review +waiting .*waits for Pay\? \(approved, rejected\)$/m,
    );
    const missing = await cli("approve", id, "--data", "account=0123");
    expect(missing).toMatchObject({ exit: 2, out: "" });
    expect(missing.err).toMatch(/comment[\s\S]*amount/);
    const ran = await cli("approve", id, "--comment", "ok", "--data", "amount=12", "account=123");
    expect(ran).toMatchObject({ exit: 0, err: "" });
    expect(ran.out).toContain(`${id}  review decided: approved, now `);
    expect(await stepOf(id, "review")).toMatchObject({
      status: "done",
      result: { outcome: "approved", data: { amount: 12, account: "123" } },
    });
  });

  test("is not mistaken for another by --step", async () => {
    const id = await begin();
    await waits(id, "review", { human_task: { title: "Pay?" } });
    expect((await cli("approve", id, "--step", "sign")).exit).toBe(1);
    expect((await stepOf(id, "review")).status).toBe("waiting");
    expect((await cli("approve", id, "--step", "review")).exit).toBe(0);
  });
});

test("where nothing waits for a person, approve says so", async () => {
  const ran = await cli("approve", await begin(), "--json");
  expect(ran).toMatchObject({ exit: 1, out: "" });
  expect(JSON.parse(ran.err)).toMatchObject({ code: "no_human_task" });
});

describe("signal", () => {
  test("is taken by the wait it is for, with its data as it was typed", async () => {
    const id = await begin();
    await waits(id, "paid", { signal: "payment", timeout_seconds: 3600 });
    expect((await cli("steps", id)).out).toMatch(/^paid +waiting .*waits for signal payment until \d{4}-/m);
    const ran = await cli("signal", id.slice(-8), "payment", '{"cents": 12345678901234567890}');
    expect(ran).toMatchObject({ exit: 0, err: "" });
    expect(ran.out).toContain(`${id}  signal payment taken by a wait, now `);
    const response = await fetch(`${server.url}/v1/intents/${id}/steps`);
    expect(await response.text()).toContain("12345678901234567890");
  });

  test("is kept until a wait takes it, also without data or from stdin", async () => {
    const id = await begin();
    expect((await cli("signal", id, "go")).out).toContain(
      `${id}  signal go kept until a wait takes it, now `,
    );
    const { out } = await perdure(server.url, ["signal", id, "go", "-", "--json"], { stdin: '"now"' });
    expect(JSON.parse(out)).toMatchObject({ ok: true, name: "go", delivered: false });
    const put = (key: string) =>
      call(server, "PUT", `/v1/intents/${id}/steps/${key}`, {
        status: "waiting",
        attempt: 1,
        wait: { signal: "go" },
      });
    expect((await put("a")).body.step).toMatchObject({ status: "done", result: null });
    expect((await put("b")).body.step).toMatchObject({ status: "done", result: "now" });
  });

  test("to an intent that has ended is refused", async () => {
    const id = await ask();
    await cli("approve", id);
    const ran = await cli("signal", id, "go", "--json");
    expect(ran.exit).toBe(1);
    expect(JSON.parse(ran.err)).toMatchObject({ code: "intent_terminal" });
  });
});

describe("send --parent", () => {
  test("makes a child, for which the parent can wait", async () => {
    const parent = await begin();
    const ran = await cli("send", "nobody", "job.v1", "--parent", parent.slice(-8));
    const child = ran.out.trim();
    expect((await cli("get", child)).out).toContain(parent);
    await waits(parent, "join", { intents: [child] });
    expect((await cli("steps", parent)).out).toMatch(/^join +waiting .*waits for 1 intent$/m);
    await call(server, "POST", `/v1/intents/${child}/resolve`, { status: "COMPLETED", result: 7 });
    const join = await until("the parent has it", async () => {
      const step = await stepOf(parent, "join");
      return step.status === "done" && step;
    });
    expect(join).toMatchObject({
      result: [{ intent_id: child, status: "COMPLETED", result: 7 }],
    });
  });

  test("from within a command counts only while that command's attempt is the current one", async () => {
    const parent = await begin();
    const from = (attempt: string) =>
      perdure(server.url, ["send", "nobody", "job.v1", "--parent", parent, "--json"], {
        env: { PERDURE_INTENT_ID: parent, PERDURE_ATTEMPT: attempt },
      });
    expect((await from("1")).exit).toBe(0);
    const stale = await from("2");
    expect(stale.exit).toBe(1);
    expect(JSON.parse(stale.err)).toMatchObject({ code: "stale_attempt" });
  });

  test("of an intent that is not there, or has ended, is refused", async () => {
    const parent = await ask();
    await cli("approve", parent);
    const ended = await cli("send", "nobody", "job.v1", "--parent", parent, "--json");
    expect(JSON.parse(ended.err)).toMatchObject({ code: "parent_terminal" });
    const unknown = await cli(
      "send",
      "nobody",
      "job.v1",
      "--parent",
      "01890000-0000-7000-8000-00000012abcd",
      "--json",
    );
    expect(JSON.parse(unknown.err)).toMatchObject({ code: "parent_not_found" });
  });
});

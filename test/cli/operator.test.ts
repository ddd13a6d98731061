// The commands of senders and operators against a real server.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { forTerminal } from "../../server/cli/io.ts";
import { runCli } from "../../server/cli/run.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { openTerminal, perdure } from "./terminal.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const cli = (...argv: string[]) => perdure(server.url, argv);

async function send(...more: string[]): Promise<string> {
  const ran = await cli("send", "nobody", "job.v1", ...more);
  expect(ran.exit).toBe(0);
  return ran.out.trim();
}

function resolve(id: string, body: object) {
  return call(server, "POST", `/v1/intents/${id}/resolve`, body);
}

test("send prints the id alone, and says when nobody listens", async () => {
  const ran = await cli("send", "nobody", "job.v1", '{"n": 1}');
  expect(ran.out).toMatch(/^[0-9a-f-]{36}\n$/);
  expect(ran.err).toContain("no agent listens at nobody");
});

test("send takes plan, session, metadata, time to live, start and payload from its options", async () => {
  const id = await send(
    "@package.json",
    "--steps",
    "a, b",
    "--session",
    "s1",
    "--meta",
    "k=v=w",
    "--ttl",
    "1h",
    "--at",
    "10m",
    "--priority",
    "3",
  );
  const { body } = await call(server, "GET", `/v1/intents/${id}`);
  expect(body.intent).toMatchObject({ session: "s1", metadata: { k: "v=w" }, progress: { total: 2 } });
  expect(body.intent.payload.name).toBe("perdure");
  expect(body.intent.deadline_at).toBeTypeOf("string");
});

test("send keeps the payload as it was written, also from stdin", async () => {
  const { out } = await perdure(server.url, ["send", "nobody", "job.v1", "-"], {
    stdin: '{"big": 12345678901234567890}',
  });
  const response = await fetch(`${server.url}/v1/intents/${out.trim()}`);
  expect(await response.text()).toContain("12345678901234567890");
});

test("send with the same key answers the first intent", async () => {
  expect(await send("--key", "once")).toBe(await send("--key", "once"));
});

describe("wait", () => {
  test("prints the result and exits with 0", async () => {
    const id = await send();
    const waiting = cli("wait", id);
    await resolve(id, { status: "COMPLETED", result: { rows: 3 } });
    expect(await waiting).toEqual({ exit: 0, out: '{"rows":3}\n', err: "" });
  });

  test("exits with 1 for FAILED, 4 for CANCELED and says why", async () => {
    const failed = await send();
    await resolve(failed, { status: "FAILED", error: { code: "bad_file", message: "no header" } });
    const ran = await cli("wait", failed);
    expect(ran).toMatchObject({ exit: 1, out: "" });
    expect(ran.err).toContain("FAILED  bad_file: no header");
    const canceled = await send();
    expect(await cli("cancel", canceled, "--reason", "enough")).toMatchObject({ exit: 0, err: "" });
    expect((await cli("wait", canceled)).exit).toBe(4);
  });

  test("exits with 6 for TIMED_OUT", async () => {
    const id = await send("--ttl", "100ms");
    expect((await cli("wait", id, "--timeout", "20s")).exit).toBe(6);
  });

  test("exits with 124 when its time is over; the intent goes on", async () => {
    const id = await send();
    const ran = await cli("wait", id, "--timeout", "50ms");
    expect(ran.exit).toBe(124);
    expect(ran.err).toContain("it goes on");
    expect((await cli("get", id)).out).not.toContain("CANCELED");
  });

  test("takes several, each on a line, and exits by the first that did not complete", async () => {
    const [good, bad] = [await send(), await send()];
    await resolve(good, { status: "COMPLETED", result: 1 });
    await resolve(bad, { status: "FAILED", error: { code: "x", message: "y" } });
    const ran = await cli("wait", good, bad);
    expect(ran.exit).toBe(1);
    expect(ran.out.trim().split("\n").sort()).toEqual(
      [`${good}  COMPLETED  1`, `${bad}  FAILED  x: y`].sort(),
    );
  });

  test("on Ctrl+C only detaches, and says so", async () => {
    const id = await send();
    const terminal = openTerminal({ PERDURE_URL: server.url });
    const exit = runCli(["wait", id], terminal.io);
    await until("wait takes Ctrl+C", () => terminal.catches);
    terminal.press("SIGINT");
    expect(await exit).toBe(130);
    expect(terminal.err).toContain(`detached; the work goes on. To come back: perdure wait ${id}`);
    expect((await call(server, "GET", `/v1/intents/${id}`)).body.status).not.toBe("CANCELED");
  });

  test("of an unknown intent says so at once", async () => {
    expect(await cli("wait", "01890000-0000-7000-8000-00000012abcd")).toMatchObject({ exit: 1, out: "" });
  });
});

test("send --wait=… waits with a limit, and a bare --wait leaves the payload alone", async () => {
  expect((await cli("send", "nobody", "job.v1", "--wait=20ms")).exit).toBe(124);
  const terminal = openTerminal({ PERDURE_URL: server.url });
  const exit = runCli(["send", "nobody", "job.v1", "--wait", '{"n": 7}'], terminal.io);
  const id = await until("the id is printed", () => /[0-9a-f-]{36}/.exec(terminal.err)?.[0]);
  const { body } = await call(server, "GET", `/v1/intents/${id}`);
  expect(body.intent.payload).toEqual({ n: 7 });
  await resolve(id, { status: "COMPLETED", result: "done" });
  expect(await exit).toBe(0);
  expect(terminal.out).toBe("done\n");
});

describe("get", () => {
  test("finds an intent by the end of its id", async () => {
    const id = await send();
    expect((await cli("get", id.slice(-8))).out).toContain(id);
    expect((await cli("get", id.slice(-15).toUpperCase())).out).toContain(id);
  });

  test("--result exits by the outcome, and with 124 while there is none", async () => {
    const id = await send();
    expect((await cli("get", id, "--result")).exit).toBe(124);
    await resolve(id, { status: "COMPLETED", result: "text" });
    expect(await cli("get", id, "--result")).toEqual({ exit: 0, out: "text\n", err: "" });
    expect(await cli("get", id, "--result", "--json")).toEqual({ exit: 0, out: '"text"\n', err: "" });
  });

  test("--events shows the log, and with --json the events as the API has them", async () => {
    const id = await send();
    expect((await cli("get", id, "--events")).out).toMatch(/^ {3}1 {2}\d\d:\d\d:\d\d\.\d{3} {2}created/);
    const events = (await cli("get", id, "--events", "--json")).out.trim().split("\n");
    expect(JSON.parse(events[0] ?? "")).toMatchObject({
      intent_id: id,
      seq: 1,
      event_type: "intent.created",
    });
  });

  test("--json is the API's answer", async () => {
    const id = await send();
    expect(JSON.parse((await cli("get", id, "--json")).out)).toMatchObject({
      ok: true,
      intent: { intent_id: id },
    });
  });
});

describe("list", () => {
  test("shows what the filters choose, in full, and says when there is more", async () => {
    const ids = [
      await send("--session", "many"),
      await send("--session", "many"),
      await send("--session", "many"),
    ];
    const all = await cli("list", "--session", "many");
    for (const id of ids) expect(all.out).toContain(id);
    expect(all.err).toBe("");
    const two = await cli("list", "--session", "many", "--limit", "2", "--json");
    expect(
      two.out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).intent_id),
    ).toEqual([ids[2], ids[1]]);
    expect(two.err).toContain("there are more than 2");
    expect((await cli("list", "--session", "many", "--all", "--json")).out.trim().split("\n")).toHaveLength(
      3,
    );
    expect(
      (await cli("list", "--session", "many", "--since", "1h", "--json")).out.trim().split("\n"),
    ).toHaveLength(3);
    expect((await cli("list", "--session", "many", "--since", "2090-01-01T00:00:00Z")).err).toBe(
      "no intents\n",
    );
  });

  test("chooses by status and metadata", async () => {
    const id = await send("--meta", "color=red");
    await resolve(id, { status: "COMPLETED" });
    expect((await cli("list", "--meta", "color=red", "--status", "completed")).out).toContain(id);
    expect((await cli("list", "--meta", "color=red", "--status", "FAILED")).out).toBe("");
  });
});

test("pause, unpause, cancel and retry change what their ids or filters choose", async () => {
  const ids = [await send("--session", "ops"), await send("--session", "ops")];
  expect((await cli("pause", ...ids)).exit).toBe(0);
  expect((await cli("list", "--session", "ops")).out).toContain("paused");
  expect((await cli("unpause", ids[0] ?? "", "--json")).out).toContain('"paused":false');
  const asked = await cli("cancel", "--session", "ops");
  expect(asked).toMatchObject({ exit: 2, out: "" });
  expect(asked.err).toContain("2 intents match and would be canceled; add --yes");
  expect(
    (await cli("cancel", "--session", "ops", "--yes")).out.match(/canceled, now CANCELED/g),
  ).toHaveLength(2);
  expect(
    (await cli("retry", "--session", "ops", "--status", "CANCELED", "--yes")).out.match(/retried/g),
  ).toHaveLength(2);
});

test("one refusal does not spare the others", async () => {
  const [ended, open] = [await send(), await send()];
  await resolve(ended, { status: "COMPLETED" });
  const ran = await cli("cancel", ended, open);
  expect(ran.exit).toBe(1);
  expect(ran.err).toContain(ended);
  expect(ran.out).toContain(`${open}  canceled`);
});

test("steps and explain show where an intent is", async () => {
  const id = await send("--steps", "extract,load");
  const claimed = await call(server, "POST", "/v1/agents/nobody/claim", { max: 50 });
  expect(claimed.body.deliveries.map((delivery: { intent_id: string }) => delivery.intent_id)).toContain(id);
  await call(server, "PUT", `/v1/intents/${id}/steps/extract`, {
    status: "done",
    attempt: 1,
    result: { rows: 3 },
  });
  const steps = await cli("steps", id);
  expect(steps.out).toMatch(/^extract +done .*\{"rows":3\}$/m);
  expect(steps.out).toMatch(/^load +planned/m);
  expect(JSON.parse((await cli("steps", id, "--json")).out).steps).toHaveLength(2);
  expect((await cli("explain", id)).out.length).toBeGreaterThan(20);
  expect(JSON.parse((await cli("explain", id, "--json")).out)).toMatchObject({ ok: true });
});

test("tail follows an intent to its end, and from where it was told to", async () => {
  const id = await send();
  const tailing = cli("tail", id);
  await resolve(id, { status: "COMPLETED" });
  const { exit, out } = await tailing;
  expect(exit).toBe(0);
  expect(out).toMatch(/created[\s\S]*completed/);
  const later = await cli("tail", id, "--since", "1", "--json");
  expect(JSON.parse(later.out.split("\n")[0] ?? "")).toMatchObject({
    seq: 2,
    intent_id: id,
    event_type: "intent.submitted",
  });
});

test("a table cell with control characters cannot move the cursor", async () => {
  const id = await send("--steps", "a");
  await call(server, "POST", "/v1/agents/nobody/claim", { max: 50 });
  await call(server, "PUT", `/v1/intents/${id}/steps/a`, {
    status: "failed",
    attempt: 1,
    error: { code: "x", message: "\u001b[2Jgone\nline\u009b2J" },
  });
  const { out } = await cli("steps", id);
  expect(out).toContain("\\u001b[2Jgone\\nline\\u009b2J");
});

test("whatever a terminal is told, others' words cannot steer it, and its colours stay", () => {
  expect(forTerminal("\u001b[31mFAILED\u001b[39m  \u001b]0;title\u0007\u001b[2J\rover\u009b1A")).toBe(
    "\u001b[31mFAILED\u001b[39m  \\u001b]0;title\\u0007\\u001b[2J\\rover\\u009b1A",
  );
  expect(forTerminal("{\n\t1\r\n}")).toBe("{\n\t1\r\n}");
});

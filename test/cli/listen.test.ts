// Agents made of shell commands, against a real server, with `perdure exec` as the built program it is for them.
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../server/cli/run.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { openTerminal, type Terminal } from "./terminal.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/perdure.js", import.meta.url));

let server: TestServer;
/** On the PATH of every agent: `perdure`, and the files the commands write. */
let desk: string;
let named = 0;
beforeAll(async () => {
  server = await startTestServer();
  desk = await mkdtemp(join(tmpdir(), "perdure-cli-test-"));
  await writeFile(join(desk, "perdure"), `#!/bin/sh\nexec "${process.execPath}" "${PROGRAM}" "$@"\n`);
  await chmod(join(desk, "perdure"), 0o755);
});
afterAll(async () => {
  await server.close();
  await rm(desk, { recursive: true, force: true });
});

interface Agent {
  readonly terminal: Terminal;
  readonly exit: Promise<number>;
}

const agents = new Set<Agent>();
afterEach(async () => {
  for (const agent of agents) {
    if (agent.terminal.catches) agent.terminal.press("SIGTERM");
    await agent.exit;
  }
  agents.clear();
});

async function listen(address: string, ...argv: string[]): Promise<Agent> {
  const env = { PATH: `${desk}:${process.env.PATH}`, DESK: desk, PERDURE_URL: server.url };
  const terminal = openTerminal(env);
  const agent = { terminal, exit: runCli(["listen", address, ...argv], terminal.io) };
  agents.add(agent);
  await until("the agent listens", () => terminal.err.includes("listening at"));
  return agent;
}

async function stop(agent: Agent): Promise<number> {
  agent.terminal.press("SIGINT");
  agents.delete(agent);
  return await agent.exit;
}

const freshAddress = () => `worker-${++named}`;

async function send(address: string, more: object = {}): Promise<string> {
  const { body } = await call(server, "POST", "/v1/intents", {
    intent_type: "job.v1",
    to_agent: address,
    ...more,
  });
  return body.intent_id;
}

async function ended(id: string) {
  const { body } = await call(server, "GET", `/v1/intents/${id}?wait=20`);
  return body.intent;
}

const file = (name: string) => readFile(join(desk, name), "utf8").catch(() => "");
const written = (name: string) => until(`${name} is written`, async () => (await file(name)) || undefined);

describe("listen --exec runs a command per delivery", () => {
  test.each([
    [`echo '{"rows": 3}'`, { rows: 3 }],
    ["echo plain text", "plain text"],
    ["echo 12", 12],
    ["true", null],
  ])("whose output is the result: %s", async (command, result) => {
    const address = freshAddress();
    await listen(address, "--exec", command);
    expect(await ended(await send(address))).toMatchObject({ status: "COMPLETED", result });
  });

  test("and gets the delivery on stdin and what it needs in its environment", async () => {
    const address = freshAddress();
    await listen(
      address,
      "--exec",
      `printf '{"env": ["%s", "%s", "%s"], "stdin": %s}' "$PERDURE_INTENT_ID" "$PERDURE_ATTEMPT" "$PERDURE_IDEMPOTENCY_KEY" "$(cat)"`,
    );
    const id = await send(address, { payload: { file: "a.csv" } });
    const { result } = await ended(id);
    expect(result.env).toEqual([id, "1", id]);
    expect(result.stdin).toMatchObject({
      intent_id: id,
      attempt: 1,
      results: {},
      intent: { payload: { file: "a.csv" } },
    });
  });

  test("and fails the intent by its exit code, with the end of its stderr", async () => {
    const address = freshAddress();
    const agent = await listen(address, "--exec", "echo no such table >&2; exit 3");
    const { status, error } = await ended(await send(address, { retry: { max_retries: 3 } }));
    expect({ status, error }).toMatchObject({
      status: "FAILED",
      error: {
        code: "command_failed",
        message: "the command exited with 3: no such table",
        details: { exit_code: 3 },
      },
    });
    expect(agent.terminal.err).toContain("no such table");
  });

  test("and is tried again after exit code 75 when the intent allows it", async () => {
    const address = freshAddress();
    await listen(
      address,
      "--exec",
      `echo x >> "$DESK/${address}"; [ "$(wc -l < "$DESK/${address}")" -ge 3 ] || exit 75; echo 3`,
    );
    const id = await send(address, { retry: { max_retries: 5, initial_delay_ms: 1, max_delay_ms: 1 } });
    expect(await ended(id)).toMatchObject({ status: "COMPLETED", result: 3 });
  });

  test("and is ended with everything it started when the intent is canceled", async () => {
    const address = freshAddress();
    // Says so when it is asked to end, and could not do so after a SIGKILL.
    const child = `trap "echo ended > $DESK/${address}.ended; exit" TERM; echo up > $DESK/${address}; while :; do sleep 0.02; done`;
    await listen(address, "--exec", `sh -c '${child}' & wait`);
    const id = await send(address);
    await written(address);
    await call(server, "POST", `/v1/intents/${id}/cancel`, {});
    await written(`${address}.ended`);
  });
});

describe("listen --step runs a command per step", () => {
  test("in their order, with the earlier results on stdin; the last is the result", async () => {
    const address = freshAddress();
    await listen(
      address,
      "--step",
      "extract=echo 41",
      "--step",
      `load=node -pe 'JSON.parse(require("fs").readFileSync(0)).results.extract + 1'`,
    );
    const id = await send(address);
    expect(await ended(id)).toMatchObject({
      status: "COMPLETED",
      result: 42,
      progress: { done: 2, total: 2 },
    });
  });

  test("and a stop finishes the step at work; the next agent goes on behind it", async () => {
    const address = freshAddress();
    const steps = [
      "--step",
      `one=echo one >> "$DESK/${address}"; until [ -e "$DESK/${address}.go" ]; do sleep 0.02; done; echo first`,
      "--step",
      `two=echo two >> "$DESK/${address}"; echo second`,
    ];
    const first = await listen(address, ...steps);
    const id = await send(address);
    await written(address);
    first.terminal.press("SIGINT");
    await writeFile(join(desk, `${address}.go`), "go");
    expect(await first.exit).toBe(0);
    expect(first.terminal.err).toContain("handed back job.v1 1/2 (saved one)");
    await listen(address, ...steps);
    expect(await ended(id)).toMatchObject({ status: "COMPLETED", result: "second", lost_deliveries: 0 });
    expect(await file(address)).toBe("one\ntwo\n");
  });
});

describe("exec makes a command a step", () => {
  /** Three steps in a script; the second holds until the file `.go` is there. */
  function script(address: string, options = ""): string {
    const ledger = `"$DESK/${address}"`;
    return [
      "set -e",
      `a=$(perdure exec --step one -- sh -c 'echo one $PERDURE_IDEMPOTENCY_KEY >> ${ledger}; echo 41')`,
      `b=$(perdure exec --step two ${options} -- sh -c 'echo two $PERDURE_IDEMPOTENCY_KEY >> ${ledger}; until [ -e ${ledger}.go ]; do sleep 0.02; done; echo 1')`,
      `perdure exec --step three -- sh -c 'echo three >> ${ledger}; echo '$((a + b))`,
    ].join("\n");
  }

  const holds = (address: string) =>
    until("step two holds", async () => (await file(address)).includes("two"));
  const letGo = (address: string) => writeFile(join(desk, `${address}.go`), "go");

  test("which a later attempt does not run again; the one at work when the agent died runs again with its key", async () => {
    const address = freshAddress();
    const first = await listen(address, "--exec", script(address), "--drain-timeout", "0ms");
    const id = await send(address);
    await holds(address);
    expect(await stop(first)).toBe(0);
    await letGo(address);
    await listen(address, "--exec", script(address));
    expect(await ended(id)).toMatchObject({ status: "COMPLETED", result: 42 });
    const lines = (await file(address)).trim().split("\n");
    expect(lines.map((line) => line.split(" ")[0])).toEqual(["one", "two", "two", "three"]);
    expect(lines[1]).toBe(lines[2]);
  });

  test("and refuses to begin one while the agent stops, so that the delivery goes back however the script takes it", async () => {
    const address = freshAddress();
    const deaf = script(address).replace("set -e", "set +e").concat("; true");
    const first = await listen(address, "--exec", deaf);
    const id = await send(address);
    await holds(address);
    first.terminal.press("SIGINT");
    await until("the drain has begun", () => first.terminal.err.includes("SIGINT"));
    await letGo(address);
    expect(await first.exit).toBe(0);
    expect(await file(address)).not.toContain("three");
    expect((await call(server, "GET", `/v1/intents/${id}`)).body.status).toBe("IN_PROGRESS");
    await listen(address, "--exec", deaf);
    expect(await ended(id)).toMatchObject({ status: "COMPLETED", result: 42, lost_deliveries: 0 });
  });

  test("and none begins while the intent is paused; after unpause it goes on", async () => {
    const address = freshAddress();
    await listen(address, "--exec", script(address));
    const id = await send(address);
    await holds(address);
    await call(server, "POST", `/v1/intents/${id}/pause`, {});
    await letGo(address);
    await until("it is handed back", async () => {
      const { body } = await call(server, "GET", `/v1/intents/${id}/events`);
      return body.events.some((event: { event_type: string }) => event.event_type === "intent.released");
    });
    expect(await file(address)).not.toContain("three");
    await call(server, "POST", `/v1/intents/${id}/unpause`, {});
    expect(await ended(id)).toMatchObject({ status: "COMPLETED", result: 42 });
  });

  test("and --on-interrupt ask leaves an interrupted one to an operator", async () => {
    const address = freshAddress();
    const command = script(address, "--on-interrupt ask");
    const first = await listen(address, "--exec", command, "--drain-timeout", "0ms");
    const id = await send(address);
    await holds(address);
    await stop(first);
    await until(
      "it waits for an operator",
      async () => (await call(server, "GET", `/v1/intents/${id}`)).body.status === "WAITING",
    );
    await call(server, "POST", `/v1/intents/${id}/steps/two/decide`, { done: 9 });
    await listen(address, "--exec", command);
    expect(await ended(id)).toMatchObject({ status: "COMPLETED", result: 50 });
    expect((await file(address)).match(/two/g)).toHaveLength(1);
  });

  test("and mirrors the command's exit code, also when the step is known to have failed", async () => {
    const address = freshAddress();
    await listen(
      address,
      "--exec",
      `perdure exec --step bad -- sh -c 'echo x >> "$DESK/${address}"; exit 9'; a=$?; perdure exec --step bad -- false; echo "[$a, $?]"`,
    );
    expect(await ended(await send(address))).toMatchObject({ status: "COMPLETED", result: [9, 9] });
    expect(await file(address)).toBe("x\n");
  });

  test("and says 127 for a program that is not there", async () => {
    const address = freshAddress();
    await listen(address, "--exec", "perdure exec --step bad -- /no/such/program; echo $?");
    expect(await ended(await send(address))).toMatchObject({ result: 127 });
  });
});

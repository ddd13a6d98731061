// Every code block of the README is run here, in the order it stands, against one server.
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const readme = readFileSync(`${root}/README.md`, "utf8");
const blocks = [...readme.matchAll(/```(\w+)\n([\s\S]*?)```/g)].map((match) => ({
  language: match[1] ?? "",
  code: match[2] ?? "",
}));
const scripts = JSON.parse(readFileSync(`${root}/package.json`, "utf8")).scripts as Record<string, string>;

let server: TestServer;
const started: ChildProcess[] = [];

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  for (const { pid, exitCode } of started) {
    if (pid === undefined) continue;
    try {
      // The whole group: a shell that is killed leaves what it started.
      process.kill(-pid, "SIGKILL");
    } catch (error) {
      if (exitCode === null) throw error;
    }
  }
  await server.close();
});

function start(command: string, args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(command, [...args], {
    cwd: root,
    env: { ...process.env, NO_COLOR: "1", PERDURE_URL: server.url, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  started.push(child);
  return child;
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const child = start(command, args);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (output += data));
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`exit ${code}\n${args.at(-1)}\n${output}`);
  return output;
}

const bash = (code: string): Promise<string> =>
  run("bash", ["-euo", "pipefail", "-c", code.replaceAll("http://127.0.0.1:7070", server.url)]);
const node = (code: string): [string, string[]] => [process.execPath, ["--input-type=module", "-e", code]];
const blockWith = (part: string): string => {
  const found = blocks.filter((block) => block.code.includes(part));
  expect(found).toHaveLength(1);
  return found[0]?.code ?? "";
};

test("every block of the README is one that is run or quoted below", () => {
  expect(blocks.map((block) => block.language)).toEqual([
    "bash",
    "bash",
    "bash",
    "text",
    "js",
    "js",
    "js",
    "bash",
    "bash",
    "bash",
    "bash",
    "bash",
  ]);
});

test("the first commands are the scripts of this package", () => {
  expect(blocks[0]?.code.trim()).toBe("npm ci && npm start");
  expect(blocks[1]?.code.trim()).toBe("npm ci && npm test");
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(["start", "test", "demo"]));
});

test("the demo survives kill -9 of agent and server and leaves the right result", async () => {
  expect(blocks[2]?.code.trim()).toBe("npm run demo");
  const output = await run(process.execPath, ["examples/demo.mjs"]);
  expect(output).toContain("extract 1×, validate 1×, transform 2×, load 1×");
  expect(output).toContain("steps 1 and 2 did not run again, and the result is right");
}, 150_000);

test("the SDK's agent and sender work together", async () => {
  start(...node(blockWith("const agent = client.listen(")));
  const output = await run(...node(blockWith("client.sendIntent(")));
  expect(output).toContain("COMPLETED { shipped: 'book', paid: 12 }");
});

test("a handler waits for a child, a person and a signal", async () => {
  start(...node(blockWith("ctx.waitForSignal(")));
  const output = await bash(blockWith("perdure.js approve"));
  expect(output).toContain('{"draft":"About lasting","checked":true,"outcome":"yes","channel":"blog"}');
});

test("curl creates an intent, works on it and watches it end", async () => {
  await bash(blockWith("?to_agent=reporter'"));
  const output = await bash(blockWith("/claim -H"));
  expect(output).toContain('"status":"COMPLETED"');
  expect(output).toContain("event: intent.completed");
  expect(output).toContain("event: stream.end");
});

test("the bash agent survives kill -9 and goes on with the step it was in", async () => {
  const shown = blockWith("#!/usr/bin/env bash");
  expect(shown).toBe(readFileSync(`${root}/examples/bash-agent.sh`, "utf8"));
  const created = await call(server, "POST", "/v1/intents", {
    intent_type: "bash.v1",
    to_agent: "basher",
    steps: ["one", "two", "three"],
  });
  const id = created.body.intent_id;
  const hanging = shown.replace(
    /^work\(\).*$/m,
    'work() { if [ "$1" = two ]; then exec sleep 100; fi; echo 1; }',
  );
  const first = start("bash", ["-c", hanging, "bash-agent", "basher", "one-name"]);
  await until("the first agent to be in step two", async () => {
    const { body } = await call(server, "GET", `/v1/intents/${id}`);
    return body.intent.progress.current === "two";
  });
  first.kill("SIGKILL");
  start("bash", ["-c", shown, "bash-agent", "basher", "one-name"]);
  const ended = await call(server, "GET", `/v1/intents/${id}?wait=30`);
  expect(ended.body).toMatchObject({ status: "COMPLETED", result: { step: "three" } });
  const { body } = await call(server, "GET", `/v1/intents/${id}/events`);
  const done = body.events.filter((event: { event_type: string }) => event.event_type === "intent.step_done");
  expect(done.map((event: { details: { key: string } }) => event.details.key)).toEqual([
    "one",
    "two",
    "three",
  ]);
});

test("the command line sends and lists", async () => {
  const output = await bash(blockWith("bin/perdure.js list"));
  expect(output).toContain("report.v1");
  expect(output).toMatch(/^ok +access/m);
});

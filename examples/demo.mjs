// The crash demo: a four-step job on real files loses its agent and its server to kill -9 in step 3, and goes on at
// step 3 when both are back. Every part is a process of its own; nothing is left running.

import { spawn } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PerdureClient } from "@perdure/sdk";

const root = fileURLToPath(new URL("..", import.meta.url));
const EXPECTED = "customer,total\nada,150.25\ngrace,100.00\nedsger,200.00\n";
const LIMIT_MS = 120_000;

const colour = process.stdout.isTTY && process.env.NO_COLOR === undefined;
const paint = (code, text) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
const began = performance.now();
const say = (who, text, code = "0") => {
  const seconds = ((performance.now() - began) / 1000).toFixed(1).padStart(5);
  console.log(`${paint("2", `${seconds} s`)}  ${who.padEnd(6)} ${paint(code, text)}`);
};

const running = new Set();
function start(args, env, onLine) {
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  child.ended = new Promise((resolve) => {
    child.once("exit", (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream.setEncoding("utf8").on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.trim() !== "") onLine(line);
    });
  }
  return child;
}

async function kill(child) {
  child.kill("SIGKILL");
  await child.ended;
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function startServer(port, dataDir) {
  const lines = [];
  const env = { PORT: String(port), HOST: "127.0.0.1", PERDURE_DATA_DIR: dataDir, PERDURE_LOG_LEVEL: "warn" };
  const child = start(["dist/bundle/main.js"], env, (line) => lines.push(line));
  for (let tries = 0; ; tries += 1) {
    const ready = await fetch(`http://127.0.0.1:${port}/ready`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (ready) return child;
    if (child.exitCode !== null || tries > 600)
      throw new Error(`the server did not start:\n${lines.join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** One line of the timeline per event worth reading. */
function tell(event) {
  const d = event.details ?? {};
  switch (event.type) {
    case "intent.delivered":
      return say(
        "log",
        `delivered to ${d.consumer}, attempt ${event.attempt}${d.redelivered ? " (redelivery)" : ""}`,
        "36",
      );
    case "intent.step_running":
      return say(
        "log",
        `step ${d.index + 1}/${d.total} ${d.key} begins${d.interrupted ? " again: it was interrupted, same idempotency key" : ""}`,
      );
    case "intent.step_done":
      return say("log", `step ${d.done}/${d.total} ${d.key} is recorded`, "32");
    case "intent.lost":
      return say("log", `attempt ${event.attempt} is lost (${d.reason})`, "33");
    case "intent.completed":
      return say("log", "the intent is COMPLETED", "1;32");
    default:
  }
}

async function play(folder) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const ledger = join(folder, "ledger.txt");
  const output = join(folder, "totals.csv");
  const env = { PERDURE_URL: url, ETL_LEDGER: ledger, ETL_SLOW_MS: "700", ETL_CONSUMER: "etl-1" };
  const startAgent = () => start(["examples/etl/agent.mjs"], env, (line) => say("agent", line));

  let server = await startServer(port, join(folder, "data"));
  say("demo", `a server with its own PostgreSQL runs at ${url}`);
  let agent = startAgent();
  say("demo", `an agent listens (pid ${agent.pid})`);
  let id;
  const sender = start(
    ["examples/etl/send.mjs", "examples/etl/data/orders.csv", output],
    { PERDURE_URL: url },
    (line) => {
      say("sender", line);
      id ??= /^sent (\S+)/.exec(line)?.[1];
    },
  );
  while (id === undefined) {
    if (sender.exitCode !== null) throw new Error("the sender ended early");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  const client = new PerdureClient({ baseUrl: url, logger: false });
  let crashed = false;
  for await (const event of client.observe(id)) {
    tell(event);
    if (crashed || event.type !== "intent.step_running" || event.details.key !== "transform") continue;
    crashed = true;
    // Into the step, not between two: its ledger line is the proof that it runs again afterwards.
    while (!(await readFile(ledger, "utf8")).includes("transform"))
      await new Promise((resolve) => setTimeout(resolve, 20));
    await kill(agent);
    say("demo", "kill -9: the agent is dead, in step 3", "1;31");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await kill(server);
    say("demo", "kill -9: the server is dead too", "1;31");
    server = await startServer(port, join(folder, "data"));
    say("demo", "the server is back on the same data", "1;36");
    agent = startAgent();
    say("demo", `a new agent process listens (pid ${agent.pid})`, "1;36");
  }
  const { code } = await sender.ended;
  await client.close();

  const ran = (await readFile(ledger, "utf8"))
    .trim()
    .split("\n")
    .map((line) => line.split(" ")[0]);
  const times = (step) => ran.filter((one) => one === step).length;
  const counts = ["extract", "validate", "transform", "load"]
    .map((step) => `${step} ${times(step)}×`)
    .join(", ");
  const result = await readFile(output, "utf8");
  agent.kill("SIGTERM");
  await agent.ended;
  server.kill("SIGTERM");
  await server.ended;
  say("demo", `steps that ran, by their own ledger: ${counts}`);
  const right =
    code === 0 &&
    crashed &&
    times("extract") === 1 &&
    times("validate") === 1 &&
    times("transform") <= 2 &&
    times("load") === 1 &&
    result === EXPECTED;
  say(
    "demo",
    right
      ? "steps 1 and 2 did not run again, and the result is right"
      : `something is wrong: ${JSON.stringify(result)}`,
    right ? "1;32" : "1;31",
  );
  return right;
}

/** A server killed by the demo leaves its PostgreSQL to its successor; interrupted in between, there is none. */
async function stopOrphan(dataDir) {
  for (const name of await readdir(dataDir, { recursive: true }).catch(() => [])) {
    if (!name.endsWith("postmaster.pid")) continue;
    const pid = Number((await readFile(join(dataDir, name), "utf8")).split("\n")[0]);
    try {
      process.kill(pid, "SIGINT");
      for (let tries = 0; tries < 50; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        process.kill(pid, 0);
      }
    } catch {
      // It is gone.
    }
  }
}

const folder = await mkdtemp(join(tmpdir(), "perdure-demo-"));
// Started as root, PostgreSQL runs as another user and has to get through.
await chmod(folder, 0o711);
const clean = async () => {
  // A server that is asked nicely takes its PostgreSQL along.
  for (const child of running) child.kill("SIGTERM");
  await Promise.race([
    Promise.all([...running].map((child) => child.ended)),
    new Promise((resolve) => setTimeout(resolve, 8_000)),
  ]);
  for (const child of running) child.kill("SIGKILL");
  await stopOrphan(join(folder, "data"));
  await rm(folder, { recursive: true, force: true });
};
const stop = (code) => clean().finally(() => process.exit(code));
process.on("SIGINT", () => void stop(130));
process.on("SIGTERM", () => void stop(143));
setTimeout(() => {
  console.error("the demo took too long");
  void stop(1);
}, LIMIT_MS).unref();
try {
  const right = await play(folder);
  await stop(right ? 0 : 1);
} catch (error) {
  console.error(error);
  await stop(1);
}

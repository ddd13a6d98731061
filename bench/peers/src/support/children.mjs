// Processes that a run starts. None outlives it, however it ends.

import { spawn } from "node:child_process";
import { once } from "node:events";

const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** What it prints goes to stderr, for stdout is for the one line of the result; with `capture` the caller reads it. */
export function startProcess(file, args, { env = {}, ipc = false, capture = false } = {}) {
  const child = spawn(file, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit", ...(ipc ? ["ipc"] : [])],
  });
  running.add(child);
  if (!capture) child.stdout.pipe(process.stderr, { end: false });
  child.once("error", (error) => console.error(`${file}: ${error.message}`));
  child.once("exit", () => running.delete(child));
  return child;
}

export async function stopProcess(child, patienceMs = 5_000) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), patienceMs);
  await exited;
  clearTimeout(timer);
}

/** Its first message says that a worker is ready. */
export async function untilReady(child) {
  await Promise.race([
    once(child, "message"),
    once(child, "exit").then(([code]) => {
      throw new Error(`a worker ended with ${code} before it was ready`);
    }),
  ]);
}

// A worker in a process of its own, as the initiator sees it: it says when a job began or ended, for peers that do not tell
// the initiator soon enough or not at all. These reports go beside the peer, not through it.

import { fileURLToPath } from "node:url";
import { startProcess, stopProcess, untilReady } from "./children.mjs";
import { processCpu } from "./cpu.mjs";

/** @param {string} name of the program in src/workers */
export async function startWorker(name, { databaseUrl, setting }) {
  const child = startProcess(process.execPath, [fileURLToPath(new URL(`../workers/${name}.mjs`, import.meta.url))], {
    env: { DATABASE_URL: databaseUrl, SETTING: JSON.stringify(setting) },
    ipc: true,
  });
  await untilReady(child);
  const waiting = new Map();
  child.on("message", (reports) => {
    for (const [number, value] of reports) {
      waiting.get(number)?.(value);
      waiting.delete(number);
    }
  });
  return {
    cpu: () => processCpu(child.pid),
    /** What the worker reports of a job. Ask before the job is created. */
    reportOf: (number) => new Promise((resolve) => waiting.set(number, resolve)),
    stop: () => stopProcess(child),
  };
}

/** What a worker process is given. */
export const given = () => ({
  databaseUrl: process.env.DATABASE_URL,
  setting: JSON.parse(process.env.SETTING),
});

let unsent = [];

/** For a worker: reports of one turn of the event loop go as one message. */
export function report(number, value = null) {
  if (unsent.length === 0) {
    setImmediate(() => {
      process.send(unsent);
      unsent = [];
    });
  }
  unsent.push([number, value]);
}

/** For a worker: it is ready, and `stop` ends it. */
export function ready(stop) {
  const end = () => stop().finally(() => process.exit(0));
  process.once("SIGTERM", end).once("disconnect", end);
  process.send("ready");
}

// absurd: durable tasks in PostgreSQL's own functions; a worker process polls for tasks, an initiator polls for their results.
// Its package on npm has no schema: ABSURD_SCHEMA names the file absurd.sql of the same version.

import "./support/runtime.mjs";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Absurd } from "absurd-sdk";
import pg from "pg";
import { runPeer } from "./support/peer.mjs";
import { startWorker } from "./support/worker-process.mjs";

async function readSchema() {
  if (process.env.ABSURD_SCHEMA !== undefined) return readFile(process.env.ABSURD_SCHEMA, "utf8");
  throw new Error("absurd's package has no schema: set ABSURD_SCHEMA to the file absurd.sql of the same version");
}

async function start({ setting, databaseUrl }) {
  const schema = await readSchema();
  const pool = new pg.Pool({ connectionString: databaseUrl, max: setting.pool });
  await pool.query(schema);
  const absurd = new Absurd({ db: pool, queueName: "jobs" });
  await absurd.createQueue("jobs");
  const worker = await startWorker("absurd", { databaseUrl, setting });

  const spawn = async (task, payload) => (await absurd.spawn(task, payload, { queue: "jobs" })).taskID;
  const ended = async (taskId) => {
    // Its own way of waiting begins with 50 ms and doubles up to a second.
    if (setting.resultPollMs === undefined) return absurd.awaitTaskResult(taskId);
    for (;;) {
      const snapshot = await absurd.fetchTaskResult(taskId);
      if (["completed", "failed", "cancelled"].includes(snapshot.state)) return snapshot;
      await sleep(setting.resultPollMs);
    }
  };
  const runner = (task) => async (_number, payload) => (await ended(await spawn(task, payload))).result;
  return {
    fourStep: runner("four-step"),
    noStep: runner("no-step"),
    async startedAt(number, payload) {
      const began = worker.reportOf(number);
      await spawn("started-at", payload);
      return began;
    },
    cpu: { worker: worker.cpu },
    async stop() {
      await worker.stop();
      await pool.end();
    },
  };
}

const tuned = { pool: 20, resultPollMs: 20, worker: { concurrency: 64, pollInterval: 0.01 } };
const withWorker = (worker) => ({ ...tuned, worker: { ...tuned.worker, ...worker } });

const settings = {
  best: tuned,
  default: { pool: 10, worker: { concurrency: 10 } },
  c20: withWorker({ concurrency: 20 }),
  c256: withWorker({ concurrency: 256 }),
  poll50: { ...tuned, resultPollMs: 50 },
  poll100: { ...tuned, resultPollMs: 100 },
  "poll100w50": { ...withWorker({ pollInterval: 0.05 }), resultPollMs: 100 },
  own: { ...tuned, resultPollMs: undefined },
  p10: { ...tuned, pool: 10 },
};

await runPeer({
  peer: "absurd",
  packageName: "absurd-sdk",
  workloads: ["four-step", "no-step", "latency"],
  settings,
  start,
});

// DBOS: a library on PostgreSQL. Its fastest way, and the first in its documents, starts a workflow in the process that runs it
// (`best`): initiator and worker are one process. With `queue`, the initiator enqueues and a worker process takes.

import "./support/runtime.mjs";
import { DBOSClient } from "@dbos-inc/dbos-sdk";
import { runPeer } from "./support/peer.mjs";
import { DBOS, fourStep, launch, noStep, QUEUE, reportStarts, startedAt } from "./support/dbos-workflows.mjs";
import { startWorker } from "./support/worker-process.mjs";

async function startDirect(setting, databaseUrl) {
  await launch(databaseUrl, setting);
  const starter = (workflow) => async (_number, payload) =>
    (await DBOS.startWorkflow(workflow)(payload)).getResult();
  return {
    fourStep: starter(fourStep),
    noStep: starter(noStep),
    async startedAt(_number, payload) {
      const began = new Promise((resolve) => reportStarts((_started, at) => resolve(at)));
      await starter(startedAt)(_number, payload);
      return began;
    },
    stop: () => DBOS.shutdown(),
  };
}

async function startQueue(setting, databaseUrl) {
  const worker = await startWorker("dbos", { databaseUrl, setting });
  const client = await DBOSClient.create({
    systemDatabaseUrl: databaseUrl,
    systemDatabasePoolSize: setting.pool,
    applicationName: "bench",
  });
  const enqueue = (workflowName, payload) =>
    client.enqueue({ workflowName, queueName: QUEUE, appVersion: "1" }, payload);
  const enqueuer = (workflowName) => async (_number, payload) =>
    (await enqueue(workflowName, payload)).getResult({ pollingIntervalMs: setting.resultPollMs });
  return {
    fourStep: enqueuer("fourStep"),
    noStep: enqueuer("noStep"),
    async startedAt(number, payload) {
      const began = worker.reportOf(number);
      await enqueue("startedAt", payload);
      return began;
    },
    cpu: { worker: worker.cpu },
    stop: async () => {
      await client.destroy();
      await worker.stop();
    },
  };
}

const settings = {
  best: { pool: 20 },
  default: { pool: 10 },
  p40: { pool: 40 },
  p64: { pool: 64 },
  queue: { pool: 20, queuePollMs: 10, resultPollMs: 20 },
  "queue-5": { pool: 20, queuePollMs: 5, resultPollMs: 10 },
  "queue-50": { pool: 20, queuePollMs: 50, resultPollMs: 50 },
  "queue-100": { pool: 20, queuePollMs: 100, resultPollMs: 100 },
  "queue-default": { pool: 10, queuePollMs: 1000, resultPollMs: 1000 },
};

await runPeer({
  peer: "dbos",
  packageName: "@dbos-inc/dbos-sdk",
  workloads: ["four-step", "no-step", "latency"],
  settings,
  start: ({ setting, databaseUrl }) =>
    setting.queuePollMs === undefined ? startDirect(setting, databaseUrl) : startQueue(setting, databaseUrl),
});

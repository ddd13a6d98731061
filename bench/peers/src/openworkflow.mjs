// OpenWorkflow: a library on PostgreSQL; a worker process polls for runs, an initiator polls for their results.

import "./support/runtime.mjs";
import { OpenWorkflow } from "openworkflow";
import { connect } from "./support/openworkflow-backend.mjs";
import { runPeer } from "./support/peer.mjs";
import { startWorker } from "./support/worker-process.mjs";

async function start({ setting, databaseUrl }) {
  const { backend, close } = await connect(databaseUrl, setting);
  const worker = await startWorker("openworkflow", { databaseUrl, setting });
  const workflows = new OpenWorkflow({ backend });
  const runner = (name) => async (_number, payload) => {
    const handle = await workflows.runWorkflow({ name }, payload);
    // No option sets it, and with the second it has of itself this would measure nothing else.
    if (setting.resultPollMs !== undefined) handle.resultPollIntervalMs = setting.resultPollMs;
    return handle.result();
  };
  return {
    fourStep: runner("four-step"),
    noStep: runner("no-step"),
    async startedAt(number, payload) {
      const began = worker.reportOf(number);
      await workflows.runWorkflow({ name: "started-at" }, payload);
      return began;
    },
    cpu: { worker: worker.cpu },
    async stop() {
      await worker.stop();
      await close();
    },
  };
}

const settings = {
  best: { concurrency: 20, resultPollMs: 20 },
  c10: { concurrency: 10, resultPollMs: 20 },
  c64: { concurrency: 64, resultPollMs: 20 },
  c20p20: { concurrency: 20, resultPollMs: 20, pool: 20 },
  c40p20: { concurrency: 40, resultPollMs: 20, pool: 20 },
  poll50: { concurrency: 20, resultPollMs: 50 },
  poll100: { concurrency: 20, resultPollMs: 100 },
  default: { concurrency: 10 },
};

await runPeer({
  peer: "openworkflow",
  packageName: "openworkflow",
  workloads: ["four-step", "no-step", "latency"],
  settings,
  start,
});

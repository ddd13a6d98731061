// graphile-worker: a queue in PostgreSQL, one worker process, jobs without steps or results.

import "./support/runtime.mjs";
import { Logger, makeWorkerUtils } from "graphile-worker";
import pg from "pg";
import { atEnd } from "./support/cleanup.mjs";
import { runPeer } from "./support/peer.mjs";
import { enqueueOnly, measuredQueue } from "./support/queue.mjs";
import { startWorker } from "./support/worker-process.mjs";

async function start({ setting, command, databaseUrl }) {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: setting.enqueuePool ?? 10 });
  const complain = (error) => console.error(error.message);
  pool.on("error", complain).on("connect", (client) => client.on("error", complain));
  atEnd(() => pool.end());
  const utils = await makeWorkerUtils({ pgPool: pool, logger: new Logger(() => () => {}) });
  atEnd(async () => utils.release());
  await utils.migrate();
  const queue = {
    add: (payload) => utils.addJob("job", payload),
    addMany: (payloads) => utils.addJobs(payloads.map((payload) => ({ identifier: "job", payload }))),
  };
  if (setting.enqueueOnly) return enqueueOnly({ queue, setting });

  process.env.NO_LOG_SUCCESS = "1";
  const worker = await startWorker("graphile-worker", {
    databaseUrl,
    setting: { worker: setting.worker, workload: command.workload },
  });
  return measuredQueue({
    queue,
    worker,
    setting,
    // A job that is done and acknowledged is no longer there.
    async countDone(added) {
      const { rows } = await pool.query("SELECT count(*)::int AS left FROM graphile_worker._private_jobs");
      return added - rows[0].left;
    },
  });
}

const defaults = { concurrentJobs: 10 };
// The settings behind the figures on the library's own page about performance.
const fast = {
  concurrentJobs: 24,
  maxPoolSize: 25,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

const batches = { batch: 250, lanes: 4 };

const settings = {
  best: { worker: fast },
  fast: { worker: fast },
  default: { worker: defaults },
  bulk: { worker: fast, ...batches },
  "bulk-default": { worker: defaults, ...batches },
  "bulk-enqueue": { enqueueOnly: true, batch: 1000, lanes: 2 },
  "batched-acks": { worker: { ...defaults, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  "concurrency-24": { worker: { concurrentJobs: 24, maxPoolSize: 26 } },
  "enqueue-pool-20": { worker: fast, enqueuePool: 20 },
};

await runPeer({ peer: "graphile-worker", packageName: "graphile-worker", workloads: ["no-step", "latency"], settings, start });

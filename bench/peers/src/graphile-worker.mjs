// graphile-worker: a queue in PostgreSQL, one worker process, jobs without steps or results.

import "./support/runtime.mjs";
import { Logger, makeWorkerUtils } from "graphile-worker";
import pg from "pg";
import { runPeer } from "./support/peer.mjs";
import { enqueueOnly, measuredQueue } from "./support/queue.mjs";
import { startWorker } from "./support/worker-process.mjs";

async function start({ setting, command, databaseUrl }) {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: setting.enqueuePool ?? 10 });
  pool.on("error", console.error).on("connect", (client) => client.on("error", console.error));
  const utils = await makeWorkerUtils({ pgPool: pool, logger: new Logger(() => () => {}) });
  await utils.migrate();
  const queue = {
    add: (payload) => utils.addJob("job", payload),
    addMany: (payloads) => utils.addJobs(payloads.map((payload) => ({ identifier: "job", payload }))),
  };
  const close = async () => {
    await utils.release();
    await pool.end();
  };
  if (setting.enqueueOnly) return enqueueOnly({ queue, setting, close });

  process.env.NO_LOG_SUCCESS = "1";
  const worker = await startWorker("graphile-worker", {
    databaseUrl,
    setting: { worker: setting.worker, workload: command.workload },
  });
  return measuredQueue({
    queue,
    worker,
    setting,
    close,
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

const settings = {
  best: { worker: fast },
  fast: { worker: fast },
  default: { worker: defaults },
  bulk: { worker: fast, batch: 250, lanes: 4 },
  "bulk-default": { worker: defaults, batch: 250, lanes: 4 },
  "bulk-enqueue": { enqueueOnly: true, batch: 1000, lanes: 2 },
  lq: { worker: { ...defaults, localQueue: { size: 11 } } },
  ack: { worker: { ...defaults, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  c24: { worker: { concurrentJobs: 24, maxPoolSize: 26 } },
  c24ack: { worker: { ...fast, localQueue: undefined } },
  fastq: { worker: { ...fast, localQueue: { size: 25 } } },
  fast64: { worker: fast, enqueuePool: 64 },
  fast20: { worker: fast, enqueuePool: 20 },
};

await runPeer({ peer: "graphile-worker", packageName: "graphile-worker", workloads: ["no-step", "latency"], settings, start });

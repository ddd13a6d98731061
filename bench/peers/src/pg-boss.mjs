// pg-boss: a queue in PostgreSQL, one worker process, jobs without steps or results.

import "./support/runtime.mjs";
import pg from "pg";
import { PgBoss } from "pg-boss";
import { atEnd } from "./support/cleanup.mjs";
import { runPeer } from "./support/peer.mjs";
import { enqueueOnly, measuredQueue } from "./support/queue.mjs";
import { startWorker } from "./support/worker-process.mjs";

async function start({ setting, command, databaseUrl }) {
  // It only sends: the worker's instance looks after the queue.
  const boss = new PgBoss({ connectionString: databaseUrl, supervise: false, schedule: false, ...setting.sender });
  boss.on("error", console.error);
  atEnd(() => boss.stop({ graceful: false }));
  await boss.start();
  await boss.createQueue("job", { notify: setting.notify === true });
  const counter = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  atEnd(() => counter.end());
  const queue = {
    add: (payload) => boss.send("job", payload),
    addMany: (payloads) => boss.insert("job", payloads.map((data) => ({ data }))),
  };
  if (setting.enqueueOnly) return enqueueOnly({ queue, setting });

  const worker = await startWorker("pg-boss", {
    databaseUrl,
    setting: {
      boss: { useListenNotify: setting.notify === true, ...setting.boss },
      work: setting.work,
      workload: command.workload,
    },
  });
  return measuredQueue({
    queue,
    worker,
    setting,
    async countDone() {
      const { rows } = await counter.query("SELECT count(*)::int AS done FROM pgboss.job WHERE state = 'completed'");
      return rows[0].done;
    },
  });
}

const best = {
  notify: true,
  work: { batchSize: 200, localConcurrency: 1, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 },
};
const withWork = (work) => ({ ...best, work: { ...best.work, ...work } });

const settings = {
  best,
  // Two seconds between polls, a job in each: half a job a second.
  default: { work: {} },
  bulk: { ...withWork({ batchSize: 250, localConcurrency: 2 }), batch: 250, lanes: 4 },
  "bulk-enqueue": { enqueueOnly: true, batch: 1000, lanes: 2 },
  "polls-only": { ...best, notify: false },
  "two-workers": withWork({ batchSize: 50, localConcurrency: 2 }),
  "ten-workers": withWork({ batchSize: 10, localConcurrency: 10 }),
};

await runPeer({ peer: "pg-boss", packageName: "pg-boss", workloads: ["no-step", "latency"], settings, start });

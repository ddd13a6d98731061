// pg-boss: a queue in PostgreSQL, one worker process, jobs without steps or results.

import "./support/runtime.mjs";
import pg from "pg";
import { PgBoss } from "pg-boss";
import { runPeer } from "./support/peer.mjs";
import { enqueueOnly, measuredQueue } from "./support/queue.mjs";
import { startWorker } from "./support/worker-process.mjs";

async function start({ setting, command, databaseUrl }) {
  // It only sends: the worker's instance looks after the queue.
  const boss = new PgBoss({ connectionString: databaseUrl, supervise: false, schedule: false, ...setting.sender });
  boss.on("error", console.error);
  await boss.start();
  await boss.createQueue("job", { notify: setting.notify === true });
  const counter = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  const queue = {
    add: (payload) => boss.send("job", payload),
    addMany: (payloads) => boss.insert("job", payloads.map((data) => ({ data }))),
  };
  const close = async () => {
    await boss.stop({ graceful: false });
    await counter.end();
  };
  if (setting.enqueueOnly) return enqueueOnly({ queue, setting, close });

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
    close,
    async countDone() {
      const { rows } = await counter.query("SELECT count(*)::int AS done FROM pgboss.job WHERE state = 'completed'");
      return rows[0].done;
    },
  });
}

const base = { notify: true, work: { batchSize: 50, localConcurrency: 2, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 } };
const withWork = (work) => ({ ...base, work: { ...base.work, ...work } });

const settings = {
  best: base,
  default: { work: {} },
  bulk: { ...withWork({ batchSize: 250, localConcurrency: 2 }), batch: 250, lanes: 4 },
  "bulk-enqueue": { enqueueOnly: true, batch: 1000, lanes: 2 },
  "poll": { ...base, notify: false },
  "b64c1": withWork({ batchSize: 64, localConcurrency: 1 }),
  "b32c4": withWork({ batchSize: 32, localConcurrency: 4 }),
  "b16c4": withWork({ batchSize: 16, localConcurrency: 4 }),
  "b10c10": withWork({ batchSize: 10, localConcurrency: 10 }),
  "b200c2": withWork({ batchSize: 200, localConcurrency: 2 }),
  "s20": { ...base, sender: { max: 20 } },
};

await runPeer({ peer: "pg-boss", packageName: "pg-boss", workloads: ["no-step", "latency"], settings, start });

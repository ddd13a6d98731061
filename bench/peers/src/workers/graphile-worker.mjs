// A graphile-worker in a process of its own.

import { Logger, run } from "graphile-worker";
import { EventEmitter } from "node:events";
import { now } from "../support/job.mjs";
import { given, ready, report } from "../support/worker-process.mjs";

const { databaseUrl, setting } = given();
const measuresLatency = setting.workload === "latency";
const events = new EventEmitter();
if (!measuresLatency) events.on("job:complete", ({ job }) => report(job.payload.number));

const runner = await run({
  preset: {
    worker: {
      connectionString: databaseUrl,
      events,
      logger: new Logger(() => (level, message) => level === "error" && console.error(message)),
      ...setting.worker,
    },
  },
  noHandleSignals: true,
  taskList: {
    async job(payload) {
      if (measuresLatency) report(payload.number, now());
    },
  },
});
ready(() => runner.stop());

// An absurd worker in a process of its own.

import { Absurd } from "absurd-sdk";
import pg from "pg";
import { now, STEPS, stepResult, workflowResult } from "../support/job.mjs";
import { given, ready, report } from "../support/worker-process.mjs";

const { databaseUrl, setting } = given();
const pool = new pg.Pool({ connectionString: databaseUrl, max: setting.pool });
const absurd = new Absurd({ db: pool, queueName: "jobs" });

absurd.registerTask({ name: "four-step" }, async ({ number }, context) => {
  const results = [];
  for (let step = 1; step <= STEPS; step += 1) {
    results.push(await context.step(`step-${step}`, async () => stepResult(number, step)));
  }
  return workflowResult(number, results);
});
absurd.registerTask({ name: "no-step" }, async ({ number }) => ({ number, sum: 0 }));
absurd.registerTask({ name: "started-at" }, async ({ number }) => {
  report(number, now());
});

await absurd.startWorker(setting.worker);
ready(async () => {
  await absurd.close();
  await pool.end();
});

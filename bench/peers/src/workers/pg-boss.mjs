// A pg-boss worker in a process of its own.

import { PgBoss } from "pg-boss";
import { now } from "../support/job.mjs";
import { given, ready, report } from "../support/worker-process.mjs";

const { databaseUrl, setting } = given();
const measuresLatency = setting.workload === "latency";
const boss = new PgBoss({ connectionString: databaseUrl, ...setting.boss });
boss.on("error", console.error);
await boss.start();
await boss.work("job", setting.work, async (jobs) => {
  for (const { data } of jobs) report(data.number, measuresLatency ? now() : null);
});
ready(() => boss.stop({ graceful: true, timeout: 2_000 }));

// A DBOS worker in a process of its own: it takes workflows from a queue.

import { DBOS, launch, QUEUE, reportStarts } from "../support/dbos-workflows.mjs";
import { given, ready, report } from "../support/worker-process.mjs";

const { databaseUrl, setting } = given();
reportStarts(report);
await launch(databaseUrl, setting);
await DBOS.registerQueue(QUEUE, { minPollingIntervalMs: setting.queuePollMs });
ready(() => DBOS.shutdown());

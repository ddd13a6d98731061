// An OpenWorkflow worker in a process of its own.

import { OpenWorkflow } from "openworkflow";
import { now, STEPS, stepResult, workflowResult } from "../support/job.mjs";
import { connect } from "../support/openworkflow-backend.mjs";
import { given, ready, report } from "../support/worker-process.mjs";

const { databaseUrl, setting } = given();
const { backend, close } = await connect(databaseUrl, setting);
const workflows = new OpenWorkflow({ backend });

workflows.defineWorkflow({ name: "four-step" }, async ({ input, step }) => {
  const results = [];
  for (let number = 1; number <= STEPS; number += 1) {
    results.push(await step.run({ name: `step-${number}` }, async () => stepResult(input.number, number)));
  }
  return workflowResult(input.number, results);
});
workflows.defineWorkflow({ name: "no-step" }, async ({ input }) => ({ number: input.number, sum: 0 }));
workflows.defineWorkflow({ name: "started-at" }, async ({ input }) => {
  report(input.number, now());
});

const worker = workflows.newWorker({ concurrency: setting.concurrency });
await worker.start();
ready(async () => {
  await worker.stop();
  await close();
});

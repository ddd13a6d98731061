// DBOS's side of the jobs, registered in whichever process runs them.

import { DBOS } from "@dbos-inc/dbos-sdk";
import { now, STEPS, stepResult, workflowResult } from "./job.mjs";

export const QUEUE = "jobs";

async function fourStepFunction(payload) {
  const results = [];
  for (let step = 1; step <= STEPS; step += 1) {
    results.push(await DBOS.runStep(async () => stepResult(payload.number, step), { name: `step-${step}` }));
  }
  return workflowResult(payload.number, results);
}

export const fourStep = DBOS.registerWorkflow(fourStepFunction, { name: "fourStep" });
export const noStep = DBOS.registerWorkflow(async ({ number }) => ({ number, sum: 0 }), { name: "noStep" });

let onStart = () => {};
/** Whom to tell when a workflow of the latency measurement begins: a job's number and the time. */
export function reportStarts(listener) {
  onStart = listener;
}
async function startedAtFunction({ number }) {
  onStart(number, now());
}
export const startedAt = DBOS.registerWorkflow(startedAtFunction, { name: "startedAt" });

const quiet = { debug() {}, info() {}, warn: console.error, error: console.error };

export async function launch(systemDatabaseUrl, { pool }) {
  DBOS.setConfig({ name: "bench", systemDatabaseUrl, systemDatabasePoolSize: pool, applicationVersion: "1", logger: quiet });
  await DBOS.launch();
}

export { DBOS };

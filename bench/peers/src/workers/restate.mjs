// The services of the Restate peer, in a process of their own as Restate's documents have it: the server calls them.

import * as restate from "@restatedev/restate-sdk";
import { now, STEPS, stepResult, workflowResult } from "../support/job.mjs";

const retention = process.env.RETENTION === "none" ? { journalRetention: 0 } : {};

async function fourStep(ctx, payload) {
  const results = [];
  for (let step = 1; step <= STEPS; step += 1) {
    results.push(await ctx.run(`step-${step}`, () => stepResult(payload.number, step)));
  }
  return workflowResult(payload.number, results);
}
const noStep = async (_ctx, payload) => ({ number: payload.number, sum: 0 });
const startedAt = async () => now();

const jobs = restate.service({
  name: "jobs",
  handlers: { fourStep, noStep, startedAt },
  options: retention,
});
const fourStepWorkflow = restate.workflow({ name: "four-step", handlers: { run: fourStep }, options: retention });
const noStepWorkflow = restate.workflow({ name: "no-step", handlers: { run: noStep }, options: retention });
const startedWorkflow = restate.workflow({ name: "started-at", handlers: { run: startedAt }, options: retention });

await restate.serve({
  services: [jobs, fourStepWorkflow, noStepWorkflow, startedWorkflow],
  port: Number(process.env.PORT),
});
process.on("disconnect", () => process.exit(0));
process.send("ready");

// Ctrl+C (or SIGTERM, as a deployment sends it) does not crash an agent: it finishes the step it is in, hands the intent back, says what
// was saved, and ends. The next agent goes on there, and the hand-back does not count as a lost delivery. A second Ctrl+C ends it at once.
//
//   node examples/graceful/agent.mjs           # press Ctrl+C in the second step, then start it again
//   node bin/perdure.js send releaser release.v1 '{"version":"1.2.0"}'

import { appendFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { PerdureClient } from "@perdure/sdk";

const { LEDGER = "/tmp/perdure-release.txt", WORK_MS = "3000" } = process.env;

async function work(step) {
  console.log(`${step.key} …`);
  await appendFile(LEDGER, `${step.key}\n`);
  await delay(Number(WORK_MS));
}

const client = new PerdureClient();
const agent = client.listen("releaser", {
  build: (_ctx, step) => work(step),
  test: (_ctx, step) => work(step),
  upload: (_ctx, step) => work(step),
  announce: async (ctx, step) => {
    await work(step);
    return `${ctx.payload.version} is out`;
  },
});
await agent.closed;

// Sends one ETL intent and waits for its end: node examples/etl/send.mjs INPUT.csv OUTPUT.csv

import { resolve } from "node:path";
import { PerdureClient } from "@perdure/sdk";

const [input = "examples/etl/data/orders.csv", output = "totals.csv"] = process.argv.slice(2);
const client = new PerdureClient();
const id = await client.sendIntent({
  intentType: "etl.v1",
  toAgent: "agent://demo/data/etl",
  payload: { input: resolve(input), output: resolve(output) },
  steps: ["extract", "validate", "transform", "load"],
});
console.log(`sent ${id}`);
const outcome = await client.waitFor(id, { timeout: "5m" });
console.log(`${outcome.status} ${JSON.stringify(outcome.result ?? outcome.error)}`);
await client.close();
process.exitCode = outcome.status === "COMPLETED" ? 0 : 1;

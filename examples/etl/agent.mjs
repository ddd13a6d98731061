// An agent with four steps: reads orders, drops broken ones, adds them up per customer, writes the totals.
// Every step notes in a ledger that it ran, so that a repeated one would be seen.

import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { PerdureClient } from "@perdure/sdk";

const { ETL_LEDGER, ETL_SLOW_MS = "0", ETL_CONSUMER } = process.env;

async function note(step) {
  if (ETL_LEDGER === undefined) return;
  await appendFile(ETL_LEDGER, `${step.key} ${step.idempotencyKey} pid ${process.pid}\n`);
}

const work = () => new Promise((resolve) => setTimeout(resolve, Number(ETL_SLOW_MS)));

const client = new PerdureClient();
const agent = client.listen(
  "agent://demo/data/etl",
  {
    async extract(ctx, step) {
      await note(step);
      const [header, ...lines] = (await readFile(ctx.payload.input, "utf8")).trim().split("\n");
      const names = header.split(",");
      await work();
      return lines.map((line) => Object.fromEntries(line.split(",").map((value, i) => [names[i], value])));
    },
    async validate(ctx, step) {
      await note(step);
      await work();
      return ctx.results.extract.filter((row) => Number.isFinite(Number(row.amount)));
    },
    async transform(ctx, step) {
      await note(step);
      await work();
      const totals = {};
      for (const row of ctx.results.validate) {
        totals[row.customer] = Math.round(((totals[row.customer] ?? 0) + Number(row.amount)) * 100) / 100;
      }
      return totals;
    },
    async load(ctx, step) {
      await note(step);
      const rows = Object.entries(ctx.results.transform).map(
        ([customer, total]) => `${customer},${total.toFixed(2)}`,
      );
      await mkdir(dirname(ctx.payload.output), { recursive: true });
      // Written whole each time: running this step twice leaves the same file.
      await writeFile(ctx.payload.output, ["customer,total", ...rows, ""].join("\n"));
      return { file: ctx.payload.output, customers: rows.length };
    },
  },
  ETL_CONSUMER === undefined ? {} : { consumer: ETL_CONSUMER },
);
await agent.closed;

// The two latencies a user feels, at light load: create → the handler starts, complete → waitFor returns. Prints
// them; asserts nothing. Server, PostgreSQL and client share this machine.

import { PerdureClient } from "@perdure/sdk";
import { quantile } from "./support/results.ts";
import { withServer } from "./support/server.ts";

const ROUNDS = 1_000;
const WARM_UP = 200;

function report(name: string, samples: number[]): void {
  const warm = samples.slice(WARM_UP);
  console.log(`${name}_p50_ms=${quantile(warm, 0.5).toFixed(2)}`);
  console.log(`${name}_p99_ms=${quantile(warm, 0.99).toFixed(2)}`);
}

async function measure(baseUrl: string): Promise<void> {
  const client = new PerdureClient({ baseUrl, logger: false });
  const started = new Map<number, number>();
  const ended = new Map<number, number>();
  const agent = client.listen<{ n: number }>(
    "agent://bench/smoke/echo",
    (ctx) => {
      started.set(ctx.payload.n, performance.now());
      ended.set(ctx.payload.n, performance.now());
      return { n: ctx.payload.n };
    },
    { handleSignals: false },
  );
  await agent.ready;
  const starts: number[] = [];
  const waits: number[] = [];
  for (let n = 0; n < ROUNDS; n += 1) {
    const sent = performance.now();
    const id = await client.sendIntent({
      intentType: "echo.v1",
      toAgent: "agent://bench/smoke/echo",
      payload: { n },
    });
    await client.waitFor(id);
    const back = performance.now();
    starts.push((started.get(n) ?? Number.NaN) - sent);
    waits.push(back - (ended.get(n) ?? Number.NaN));
  }
  await agent.stop();
  await client.close();
  report("create_to_handler", starts);
  report("complete_to_wait_for", waits);
}

await withServer(measure);

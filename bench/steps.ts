// What recording costs: an intent of 50 steps of 20 ms each, against the same work without steps. Declared steps and
// `ctx.step`, each recorded before the next step (sync) and behind it (async), one intent at a time; rounds are interleaved, so that a
// slow moment of the machine falls on all alike.

import { PerdureClient } from "@perdure/sdk";
import { quantile } from "./support/results.ts";
import { withServer } from "./support/server.ts";

const STEPS = 50;
const WORK_MS = 20;
const ROUNDS = Number(process.env.ROUNDS ?? 5);

type Kind = "none" | `${"wrapped" | "declared"}_${"sync" | "async"}`;
const KINDS: Kind[] = ["none", "declared_sync", "declared_async", "wrapped_sync", "wrapped_async"];
const DURABILITIES = ["sync", "async"] as const;

const work = () => new Promise<void>((resolve) => setTimeout(resolve, WORK_MS));
const keys = Array.from({ length: STEPS }, (_, n) => `step-${n}`);

async function measure(baseUrl: string): Promise<void> {
  const client = new PerdureClient({ baseUrl, logger: false });
  const options = { handleSignals: false };
  const agents = [
    client.listen(
      "agent://bench/steps/none",
      async () => {
        for (const _ of keys) await work();
      },
      options,
    ),
    ...DURABILITIES.flatMap((durability) => [
      client.listen(
        `agent://bench/steps/wrapped_${durability}`,
        async (ctx) => {
          for (const key of keys) await ctx.step(key, work, { durability });
        },
        options,
      ),
      client.listen(
        `agent://bench/steps/declared_${durability}`,
        Object.fromEntries(keys.map((key) => [key, { run: work, durability }])),
        options,
      ),
    ]),
  ];
  await Promise.all(agents.map((agent) => agent.ready));
  const took = Object.fromEntries(KINDS.map((kind) => [kind, [] as number[]]));
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const kind of KINDS) {
      const began = performance.now();
      const id = await client.sendIntent({
        intentType: "bench.v1",
        toAgent: `agent://bench/steps/${kind}`,
        payload: {},
      });
      await client.waitFor(id);
      // The first round warms up.
      if (round > 0) took[kind]?.push(performance.now() - began);
    }
  }
  await Promise.all(agents.map((agent) => agent.stop()));
  await client.close();
  report(took);
}

function report(took: Readonly<Record<string, number[]>>): void {
  const median = (kind: Kind) => quantile(took[kind] ?? [], 0.5);
  const plain = median("none");
  console.log(`without_steps_ms=${plain.toFixed(0)}`);
  for (const kind of KINDS) {
    if (kind === "none") continue;
    const more = median(kind) - plain;
    console.log(`${kind}_step_overhead_pct=${((more / plain) * 100).toFixed(1)}`);
    console.log(`${kind}_step_overhead_ms=${(more / STEPS).toFixed(2)}`);
  }
}

await withServer(measure);

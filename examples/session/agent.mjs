// Several intents of one session write into a memory they share, at the same time, from any number of agents. Nothing is lost.
//
//   node examples/session/agent.mjs            # one or more of these
//   node bin/perdure.js send scout city.v1 '{"city":"Rome"}' --session trip
//   node bin/perdure.js send scout city.v1 '{"city":"Oslo"}' --session trip
//   node bin/perdure.js state get session:trip findings
//   node bin/perdure.js sessions pause trip    # and: unpause trip
//
// HANG_IN=hotels never comes back from that topic, after it was written, so that you can kill it there.

import { appendFile } from "node:fs/promises";
import { PerdureClient } from "@perdure/sdk";

const { LEDGER = "/tmp/perdure-trip.txt", HANG_IN } = process.env;
const TOPICS = ["sights", "food", "hotels", "trains"];

async function lookUp(city, topic) {
  await appendFile(LEDGER, `${topic} ${city}\n`);
  return `${topic} of ${city}`;
}

const client = new PerdureClient();
const agent = client.listen(
  "scout",
  async (ctx) => {
    const { city } = ctx.payload;
    const memory = ctx.stateOf("session");
    for (const topic of TOPICS) {
      await ctx.step(topic, async (step) => {
        const finding = { id: step.idempotencyKey, text: await lookUp(city, topic) };
        // Reads, changes, writes; and again when somebody else has written in between. A step that was interrupted runs again with the
        // same idempotency key: what it has written already is not written twice.
        await memory.update("findings", (old = []) =>
          old.some((one) => one.id === finding.id) ? old : [...old, finding],
        );
        if (HANG_IN === topic) await new Promise(() => {});
      });
    }
    const all = await memory.get("findings");
    return { city, known: all.length };
  },
  { capacity: 3 },
);
await agent.closed;

// A research loop: a model says what to look up next until it says it is done. Nobody knows the steps beforehand; their keys are
// made on the way. Killed in the middle, the next agent goes on at the call it died in and pays for none of the others again.
//
//   node examples/research/agent.mjs
//   node bin/perdure.js send researcher research.v1 '{"question":"Why is the sky blue?"}' --wait

import { IntentFailure, PerdureClient } from "@perdure/sdk";
import { search, think } from "./model.mjs";

const MOST_ROUNDS = 20;

const client = new PerdureClient();
const agent = client.listen("researcher", async (ctx) => {
  const { question } = ctx.payload;
  const notes = [];
  for (let round = 1; round <= MOST_ROUNDS; round += 1) {
    // The key is the step's identity. After a crash this function runs from its top, and what is recorded comes back at once.
    const thought = await ctx.step(`think ${round}`, () => think(question, notes));
    if (thought.answer !== undefined) return { answer: thought.answer, rounds: round };
    ctx.progress({ message: `round ${round}: looking up ${thought.lookUp.join(" and ")}` });
    const found = await Promise.all(
      thought.lookUp.map(async (topic) => ({
        topic,
        fact: await ctx.step(`search ${topic}`, () => search(topic)),
      })),
    );
    notes.push(...found);
  }
  throw new IntentFailure(`no answer after ${MOST_ROUNDS} rounds`, { code: "no_answer", retryable: false });
});
await agent.closed;

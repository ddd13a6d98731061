// One intent becomes many: a book is counted page by page, each page an intent of its own, by as many agents as listen for them.
// While the pages are counted their parent holds nothing: no lease, and this process may even be gone.
//
//   node examples/fan-out/parent.mjs
//   node examples/fan-out/child.mjs            # one or more of these
//   node bin/perdure.js send book-counter book.v1 '{"pages":20}' --wait

import { PerdureClient } from "@perdure/sdk";

const client = new PerdureClient();
const agent = client.listen("book-counter", async (ctx) => {
  const pages = Array.from({ length: ctx.payload.pages }, (_, index) => ({
    intentType: "page.v1",
    toAgent: "page-counter",
    payload: { page: index + 1 },
  }));
  // All of them or none, and after a crash the same ones again.
  const ids = await ctx.sendIntents("pages", pages);
  const outcomes = await ctx.waitFor(ids);
  // A page that failed does not fail the book: it is there with its error.
  const counted = outcomes.filter((outcome) => outcome.status === "COMPLETED");
  const words = counted.reduce((sum, outcome) => sum + outcome.result.words, 0);
  return { words, pages: counted.length, failed: outcomes.length - counted.length };
});
await agent.closed;

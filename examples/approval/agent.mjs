// A person approves before anything is published. While the question is open nothing runs for it: agent, server and database may all
// be stopped, killed and started again. Days later somebody decides, and whichever agent listens then goes on after the question.
//
//   node examples/approval/agent.mjs
//   node bin/perdure.js send publisher post.v1 '{"topic":"bees"}'
//   node bin/perdure.js tasks
//   node bin/perdure.js approve ID --comment "well done"      # or: reject ID

import { appendFile } from "node:fs/promises";
import { PerdureClient } from "@perdure/sdk";

const { LEDGER = "/tmp/perdure-blog.txt" } = process.env;

const client = new PerdureClient();
const agent = client.listen("publisher", async (ctx) => {
  const draft = await ctx.step("draft", async () => {
    await appendFile(LEDGER, "draft\n");
    return `All about ${ctx.payload.topic}`;
  });
  // The handler is left here, and called again with the answer; the draft is not written a second time.
  const decision = await ctx.ask("approve", {
    title: `Publish "${draft}"?`,
    description: draft,
    remindAfter: "1d",
    deadline: "7d",
  });
  if (decision.outcome !== "approved") return { published: false, because: decision.comment };
  await ctx.step("publish", () => appendFile(LEDGER, `publish ${draft}\n`));
  return { published: true, comment: decision.comment };
});
await agent.closed;

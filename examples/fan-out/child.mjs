// Counts the words of one page, up to four pages at a time. See parent.mjs.
// Each count leaves a line in the file LEDGER. HANG_IN=7 never comes back from page 7, so that you can kill it there.

import { appendFile } from "node:fs/promises";
import { PerdureClient } from "@perdure/sdk";

const { LEDGER = "/tmp/perdure-pages.txt", HANG_IN } = process.env;

async function count(page) {
  await appendFile(LEDGER, `page ${page}\n`);
  if (HANG_IN === String(page)) await new Promise(() => {});
  return { words: page * 10 };
}

const client = new PerdureClient();
const agent = client.listen("page-counter", (ctx) => ctx.step("count", () => count(ctx.payload.page)), {
  capacity: 4,
});
await agent.closed;

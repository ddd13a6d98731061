// Stands in for a bank that knows no idempotency keys: asked twice, it pays twice. Its book is the file LEDGER.
// HANG=before or HANG=after never returns from a charge, before or after the money has moved, so that you can kill its caller there.

import { randomUUID } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";

const { LEDGER = "/tmp/perdure-bank.txt", HANG } = process.env;

export async function charge(amount, reference) {
  console.log(`the bank is asked for ${amount}`);
  if (HANG === "before") await new Promise(() => {});
  const id = `ch_${randomUUID().slice(0, 8)}`;
  await appendFile(LEDGER, `${id} ${amount} ${reference}\n`);
  console.log(`the bank has charged ${amount} as ${id}`);
  if (HANG === "after") await new Promise(() => {});
  return { id, amount };
}

/** The charge with this reference, if there is one. */
export async function findCharge(reference) {
  const book = await readFile(LEDGER, "utf8").catch(() => "");
  const line = book.split("\n").find((entry) => entry.split(" ")[2] === reference);
  if (line === undefined) return undefined;
  const [id, amount] = line.split(" ");
  return { id, amount: Number(amount) };
}

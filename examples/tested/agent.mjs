// The same agent with the world as it is: the bank of the payment example, and a file of mails.
//
//   node examples/tested/agent.mjs
//   node bin/perdure.js send shop order.v1 '{"item":"book","amount":12,"email":"ann@example.org"}' --wait

import { appendFile } from "node:fs/promises";
import { PerdureClient } from "@perdure/sdk";
import { orderAgent } from "./order.mjs";

const { LEDGER = "/tmp/perdure-shop.txt" } = process.env;

const bank = {
  async charge(amount, key) {
    await appendFile(LEDGER, `charge ${amount} ${key}\n`);
    return { id: `ch_${key.slice(-8)}` };
  },
};
const mail = {
  send: (to, text, key) => appendFile(LEDGER, `mail to ${to}: ${text} (${key})\n`),
};

const client = new PerdureClient();
const agent = client.listen("shop", orderAgent({ bank, mail }));
await agent.closed;

// Whatever goes wrong, the customer pays once and gets one mail. Needs no server:
//
//   node --test examples/tested/order.test.mjs

import test from "node:test";
import { explore } from "@perdure/sdk/testing";
import { orderAgent } from "./order.mjs";

test("an order is charged once and mailed once, wherever its agent dies", async () => {
  await explore({
    // Called for each life of the agent. The ledger is the world outside: it outlives them all.
    agent: ({ ledger }) =>
      orderAgent({
        bank: { charge: (amount, key) => ledger.effect(`charge ${amount}`, { key, result: { id: "ch_1" } }) },
        mail: { send: (to, text, key) => ledger.effect(`mail to ${to}: ${text}`, { key }) },
      }),
    intent: { payload: { item: "book", amount: 12, email: "ann@example.org" } },
  });
});

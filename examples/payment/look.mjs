// The same charge, and nobody has to get up at night: the bank knows no idempotency keys, but it keeps a reference with each charge.
// onInterrupt as a function looks for it before the step runs again, and says what has become of it.
//
//   node examples/payment/look.mjs
//   node bin/perdure.js send careful-cashier order.v1 '{"item":"book","amount":12}' --wait

import { PerdureClient } from "@perdure/sdk";
import { charge, findCharge } from "./bank.mjs";

const client = new PerdureClient();
const agent = client.listen("careful-cashier", {
  reserve: (ctx) => ({ item: ctx.payload.item }),
  charge: {
    run: (ctx, step) => charge(ctx.payload.amount, step.idempotencyKey),
    onInterrupt: async (step) => {
      // The key is the same on every attempt, so it finds what an agent that is gone has done.
      const found = await findCharge(step.idempotencyKey);
      console.log(`looked into the book: ${found === undefined ? "not charged" : `charged as ${found.id}`}`);
      return found === undefined ? "retry" : { done: found };
    },
  },
  receipt: (ctx) =>
    `${ctx.results.reserve.item}: paid ${ctx.results.charge.amount}, ${ctx.results.charge.id}`,
});
await agent.closed;

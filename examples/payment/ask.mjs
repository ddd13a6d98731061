// A charge that must not happen twice, at a bank that cannot tell a repetition. When the agent dies between the charge and its
// record, nobody can know whether money has moved: onInterrupt "ask" makes the intent wait for somebody who looks.
//
//   node examples/payment/ask.mjs
//   node bin/perdure.js send cashier order.v1 '{"item":"book","amount":12}'
//
// After a crash in the charge, look into the bank's book, and settle it with one of these:
//
//   node bin/perdure.js resolve-step ID charge --done '{"id":"ch_…","amount":12}'
//   node bin/perdure.js resolve-step ID charge --retry

import { PerdureClient } from "@perdure/sdk";
import { charge } from "./bank.mjs";

const client = new PerdureClient();
const agent = client.listen("cashier", {
  reserve: (ctx) => ({ item: ctx.payload.item }),
  charge: {
    onInterrupt: "ask",
    run: (ctx, step) => charge(ctx.payload.amount, step.idempotencyKey),
  },
  receipt: (ctx) =>
    `${ctx.results.reserve.item}: paid ${ctx.results.charge.amount}, ${ctx.results.charge.id}`,
});
await agent.closed;

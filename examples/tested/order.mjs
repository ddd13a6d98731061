// What an order's agent does, apart from who listens for it: so that a test can run it with a world of its own. The bank, the mail
// server and whatever else is outside come in as an argument.

export const orderAgent = ({ bank, mail }) => ({
  reserve: (ctx) => ({ item: ctx.payload.item }),
  charge: (ctx, step) => bank.charge(ctx.payload.amount, step.idempotencyKey),
  receipt: async (ctx, step) => {
    const { reserve, charge } = ctx.results;
    const text = `${reserve.item}: paid ${ctx.payload.amount}, ${charge.id}`;
    await mail.send(ctx.payload.email, text, step.idempotencyKey);
    return text;
  },
});

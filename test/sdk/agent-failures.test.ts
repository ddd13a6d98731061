// What fails or is in doubt in a handler: tried again, told to the sender, or left to somebody who can look.
import { describe, expect, it } from "vitest";
import { type Context, IntentFailure } from "../../sdk/src/index.ts";
import { until } from "../support/server.ts";
import { forever, gate, newAddress, newProcess, quiet, sender, useServer, waiting } from "./agents.ts";

useServer();

describe("failures", () => {
  it("retries a step in place, then goes on", async () => {
    const address = newAddress();
    const { client } = newProcess();
    const tries: number[] = [];
    client.listen(
      address,
      (ctx) =>
        ctx.step(
          "flaky",
          (step) => {
            tries.push(step.tries);
            if (step.tries < 3) throw new Error("not yet");
            return "now";
          },
          { retry: { maxRetries: 3, initialDelay: "5ms" } },
        ),
      quiet,
    );
    const id = await sender.sendIntent({ intentType: "flaky", toAgent: address, payload: {} });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "now" });
    expect(tries).toEqual([1, 2, 3]);
  });

  it("throws the same failure on the first run and on a replay, and a handler may go on after it", async () => {
    const address = newAddress();
    const caught: unknown[] = [];
    const handler = (dies: boolean) => async (ctx: Context) => {
      await ctx
        .step("charge", () => {
          throw new IntentFailure("card declined", {
            code: "card_declined",
            retryable: false,
            details: { n: 1 },
          });
        })
        .catch((error: IntentFailure) => caught.push([error.name, error.code, error.message, error.details]));
      return await ctx.step("apologise", (step) => (dies ? forever(step) : "sorry"));
    };
    const first = newProcess();
    first.client.listen(address, handler(true), { ...quiet, consumer: "same" });
    const id = await sender.sendIntent({ intentType: "order", toAgent: address, payload: {} });
    await until("the second step", async () => (await sender.getIntent(id)).progress.current === "apologise");
    first.network.kill();
    newProcess().client.listen(address, handler(false), { ...quiet, consumer: "same" });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "sorry" });
    expect(caught).toEqual([
      ["IntentFailure", "card_declined", "card declined", { n: 1 }],
      ["IntentFailure", "card_declined", "card declined", { n: 1 }],
    ]);
  });

  it("fails the intent with the handler's own code, or by its retry policy tries again with done steps kept", async () => {
    const address = newAddress();
    const { client } = newProcess();
    let firsts = 0;
    let seconds = 0;
    client.listen(
      address,
      async (ctx) => {
        await ctx.step("first", () => ++firsts);
        await ctx.step("second", () => {
          if (++seconds < 3) throw new Error("busy");
        });
        throw new IntentFailure("no such customer", { code: "unknown_customer", retryable: false });
      },
      quiet,
    );
    const id = await sender.sendIntent({
      intentType: "order",
      toAgent: address,
      payload: {},
      retry: { maxRetries: 5, initialDelay: "10ms" },
    });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      status: "FAILED",
      error: { code: "unknown_customer", message: "no such customer" },
    });
    expect([firsts, seconds]).toEqual([1, 3]);
  });

  it("fails the step that runs too long, without losing the attempt", async () => {
    const address = newAddress();
    const { client } = newProcess();
    client.listen(
      address,
      (ctx) => ctx.step("slow", () => new Promise(() => {}), { timeout: "50ms" }),
      quiet,
    );
    const id = await sender.sendIntent({ intentType: "slow", toAgent: address, payload: {} });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ error: { code: "step_timeout" } });
    expect((await sender.getIntent(id)).lostDeliveries).toBe(0);
  });

  it("fails with a clear code when a result cannot be written as JSON", async () => {
    const address = newAddress();
    const { client } = newProcess();
    client.listen(address, () => ({ big: 1n }), quiet);
    const id = await sender.sendIntent({ intentType: "odd", toAgent: address, payload: {} });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ error: { code: "not_serializable" } });
  });
});

describe("a step in doubt", () => {
  async function interrupted(address: string, onInterrupt: "ask" | "retry") {
    const process = newProcess();
    const began = gate();
    process.client.listen(
      address,
      (ctx) =>
        ctx.step(
          "pay",
          (step) => {
            began.open();
            return forever(step);
          },
          { onInterrupt },
        ),
      { ...quiet, consumer: "same" },
    );
    const id = await sender.sendIntent({ intentType: "pay", toAgent: address, payload: {} });
    await began.opened;
    process.network.kill();
    return id;
  }

  it("is settled by looking at the outside world", async () => {
    const address = newAddress();
    const id = await interrupted(address, "retry");
    let ran = 0;
    const asked: unknown[] = [];
    newProcess().client.listen(
      address,
      (ctx) =>
        ctx.step("pay", () => ++ran, {
          onInterrupt: async (step) => {
            asked.push([step.interrupted, step.idempotencyKey.length > 10]);
            return { done: 99 };
          },
        }),
      { ...quiet, consumer: "same" },
    );
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: 99 });
    expect([ran, asked]).toEqual([0, [[true, true]]]);
  });

  it.each(["by its option", "by its function"])("waits for an operator when told to ask, %s", async (how) => {
    const address = newAddress();
    const id = await interrupted(address, how === "by its option" ? "ask" : "retry");
    let ran = 0;
    newProcess().client.listen(
      address,
      (ctx) => ctx.step("pay", () => ++ran, { onInterrupt: async () => "ask" }),
      { ...quiet, consumer: "same" },
    );
    await until(
      "the question",
      async () => (await sender.getIntent(id)).waitingReason === "WAITING_FOR_HUMAN",
    );
    await sender.resolveStep(id, "pay", { done: "paid by hand" });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "paid by hand" });
    expect(ran).toBe(0);
  });
});

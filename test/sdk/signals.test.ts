// Signals that come before the wait for them, in time, or not at all.
import { describe, expect, it } from "vitest";
import { type Context, IntentFailure, PerdureError } from "../../sdk/src/index.ts";
import { until } from "../support/server.ts";
import {
  forever,
  newAddress,
  newProcess,
  quiet,
  send,
  sender,
  stepsPut,
  useServer,
  waiting,
} from "./agents.ts";

useServer();

describe("signals", () => {
  it("sent before the wait are not lost, and are taken in order without a pause", async () => {
    const address = newAddress();
    const id = await send(address);
    await sender.signal(id, "item", 1);
    await sender.signal(id, "item");
    await sender.signal(id, "item", { n: 3 });
    newProcess().client.listen(
      address,
      async (ctx) => {
        const taken: unknown[] = [];
        for (let i = 0; i < 3; i += 1) taken.push(await ctx.waitForSignal("item"));
        return { taken, keys: Object.keys(ctx.results) };
      },
      quiet,
    );
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      result: { taken: [1, null, { n: 3 }], keys: ["signal:item", "signal:item#2", "signal:item#3"] },
    });
    expect((await sender.getIntent(id)).attempt).toBe(1);
  });

  it("that do not come in time throw wait_timeout, the same on every replay", async () => {
    const address = newAddress();
    const caught: unknown[] = [];
    const handler = (dies: boolean) => async (ctx: Context) => {
      await ctx
        .waitForSignal("late", { timeout: "200ms" })
        .catch((error: unknown) =>
          caught.push(
            error instanceof IntentFailure
              ? ["IntentFailure", error.code, error.retryable, error.message]
              : error,
          ),
        );
      return await ctx.step("without", (step) => (dies ? forever(step) : "went on"));
    };
    const first = newProcess();
    first.client.listen(address, handler(true), { ...quiet, consumer: "same" });
    const id = await send(address);
    await until("the step after it", async () => (await sender.getIntent(id)).progress.current === "without");
    first.network.kill();
    const second = newProcess();
    second.client.listen(address, handler(false), { ...quiet, consumer: "same" });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "went on" });
    // The first one is the unwinding of the attempt that began to wait.
    expect(caught).toHaveLength(3);
    expect(PerdureError.is(caught[0], "attempt_ended")).toBe(true);
    expect(caught[1]).toEqual(["IntentFailure", "wait_timeout", false, expect.any(String)]);
    expect(caught[2]).toEqual(caught[1]);
    expect(stepsPut(second.network, "signal:late")).toEqual([]);
  });

  it("not caught in time fail the intent with that code", async () => {
    const address = newAddress();
    newProcess().client.listen(address, (ctx) => ctx.waitForSignal("late", { timeout: 50 }), quiet);
    const id = await send(address);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      status: "FAILED",
      error: { code: "wait_timeout" },
    });
  });
});

// An object of steps instead of a handler: the sender's plan, or its own.
import { describe, expect, it } from "vitest";
import type { Context, Step } from "../../sdk/src/index.ts";
import { newAddress, newProcess, quiet, sender, useServer, waiting } from "./agents.ts";

useServer();

describe("an object of steps", () => {
  it("runs the sender's plan in order and completes with the last value", async () => {
    const address = newAddress();
    const { client, network } = newProcess();
    client.listen(
      address,
      {
        load: () => "loaded",
        extract: (ctx: Context<{ from: string }>) => [ctx.payload.from],
        transform: {
          run: (ctx: Context, step: Step) => `${ctx.results.extract} by ${step.key}`,
          timeout: "5s",
        },
      },
      quiet,
    );
    const id = await sender.sendIntent({
      intentType: "etl",
      toAgent: address,
      payload: { from: "a.csv" },
      steps: ["extract", { key: "transform", title: "Transform" }, "load"],
    });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "loaded" });
    const intent = await sender.getIntent(id);
    expect(intent.progress).toEqual({ done: 3, total: 3 });
    const steps = network.requests.filter((line) => line.startsWith("PUT"));
    // extract done; transform begun (its timeout is the agent's), done and load begun with it; load done.
    expect(steps.map((line) => line.split("/").at(-1))).toEqual([
      "extract",
      "transform",
      "transform",
      "load",
    ]);
  });

  it("declares its own plan when the sender gave none, and needs one call per step", async () => {
    const address = newAddress();
    const { client, network } = newProcess();
    client.listen(
      address,
      { a: () => 1, b: (ctx: Context) => ctx.results.a + 1, c: (ctx: Context) => ctx.results.b + 1 },
      quiet,
    );
    const id = await sender.sendIntent({ intentType: "abc", toAgent: address, payload: {} });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: 3 });
    expect((await sender.getIntent(id)).progress).toEqual({ done: 3, total: 3 });
    const writes = network.requests.filter((line) => /^(PUT|POST) \/v1\/intents/.test(line));
    expect(writes.map((line) => line.split("/").at(-1))).toEqual(["start", "a", "b", "c"]);
  });

  it("fails before any work when the plan names a step it cannot run", async () => {
    const address = newAddress();
    const { client } = newProcess();
    let ran = 0;
    client.listen(address, { a: () => ++ran }, quiet);
    const id = await sender.sendIntent({
      intentType: "ab",
      toAgent: address,
      payload: {},
      steps: ["a", "b"],
    });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ error: { code: "unknown_step" } });
    expect(ran).toBe(0);
  });

  it("refuses keys that JavaScript would reorder", () => {
    const { client } = newProcess();
    expect(() => client.listen(newAddress(), { b: () => 1, 1: () => 2 }, quiet)).toThrow(/whole number/);
  });
});

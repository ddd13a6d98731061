// How an agent listens and how it stops: its capacity, its name, and what it hands back.
import { describe, expect, it } from "vitest";
import { type AgentHandle, PerdureError } from "../../sdk/src/index.ts";
import { until } from "../support/server.ts";
import { gate, newAddress, newProcess, quiet, sender, useServer, waiting } from "./agents.ts";

useServer();

describe("listening", () => {
  it("works on as many intents at once as its capacity says", async () => {
    const address = newAddress();
    const { client } = newProcess();
    const go = gate();
    let most = 0;
    const agent: AgentHandle = client.listen(
      address,
      async () => {
        most = Math.max(most, agent.active.length);
        await go.opened;
      },
      { ...quiet, capacity: 3 },
    );
    const inputs = Array.from({ length: 5 }, (_, n) => ({
      intentType: "n",
      toAgent: address,
      payload: { n },
    }));
    const ids = await sender.sendIntents(inputs);
    await until("three at work", () => agent.active.length === 3);
    go.open();
    await Promise.all(ids.map((id) => sender.waitFor(id, waiting)));
    expect(most).toBe(3);
  });

  it("is refused for good once another process has its name", async () => {
    const address = newAddress();
    const first = newProcess();
    const one = first.client.listen(address, () => {}, { ...quiet, consumer: "only-one" });
    const closed = one.closed.catch((error: unknown) => error);
    await one.ready;
    first.network.freeze();
    first.network.cut();
    const two = newProcess().client.listen(address, () => {}, { ...quiet, consumer: "only-one" });
    await two.ready;
    first.network.thaw();
    expect(PerdureError.is(await closed, "consumer_superseded")).toBe(true);
    expect(one.state).toBe("stopped");
    expect(two.state).toBe("listening");
  });
});

describe("hand-back", () => {
  it("finishes the step at work on stop, gives the rest back, and says what is saved; no attempt is lost", async () => {
    const address = newAddress();
    const first = newProcess();
    const began = gate();
    const go = gate();
    const ran: string[] = [];
    const plan = (name: string) => ({
      extract: () => ran.push(`${name} extract`),
      transform: async () => {
        ran.push(`${name} transform`);
        began.open();
        await go.opened;
      },
      load: () => {
        ran.push(`${name} load`);
        return "loaded";
      },
    });
    const agent = first.client.listen(address, plan("first"), quiet);
    const id = await sender.sendIntent({ intentType: "etl", toAgent: address, payload: {} });
    await began.opened;
    const stopping = agent.stop();
    expect(agent.state).toBe("draining");
    go.open();
    await expect(stopping).resolves.toEqual({ handedBack: [{ id, done: 2, total: 3 }] });
    expect(agent.state).toBe("stopped");
    await expect(agent.closed).resolves.toBeUndefined();
    expect(first.log).toContain("info handed back etl 2/3 (saved extract, transform)");
    const second = newProcess();
    second.client.listen(address, plan("second"), quiet);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "loaded" });
    expect(ran).toEqual(["first extract", "first transform", "second load"]);
    expect(second.log[0]).toMatch(/^info resuming etl 3\/3 \(skipped extract, transform/);
    expect((await sender.getIntent(id)).lostDeliveries).toBe(0);
  });

  it("gives back after the drain timeout even what hangs, and aborts its signal", async () => {
    const address = newAddress();
    const { client } = newProcess();
    const began = gate<AbortSignal>();
    const agent = client.listen(
      address,
      (ctx) =>
        ctx.step("hang", () => {
          began.open(ctx.signal);
          return new Promise(() => {});
        }),
      quiet,
    );
    const id = await sender.sendIntent({ intentType: "hang", toAgent: address, payload: {} });
    const signal = await began.opened;
    await expect(agent.stop({ timeout: "50ms" })).resolves.toEqual({ handedBack: [{ id, done: 0 }] });
    expect(signal.aborted).toBe(true);
    const types: string[] = [];
    for await (const event of sender.observe(id)) {
      types.push(event.type);
      if (event.type === "intent.released") break;
    }
    expect(types).not.toContain("intent.lost");
  });

  it("hands back at the next step boundary while paused, and goes on after unpause", async () => {
    const address = newAddress();
    const { client } = newProcess();
    const began = gate();
    const go = gate();
    const ran: string[] = [];
    client.listen(
      address,
      async (ctx) => {
        await ctx.step("one", async () => {
          ran.push("one");
          began.open();
          await go.opened;
        });
        return await ctx.step("two", () => ran.push("two"));
      },
      quiet,
    );
    const id = await sender.sendIntent({ intentType: "two-steps", toAgent: address, payload: {} });
    await began.opened;
    await sender.pause(id);
    go.open();
    await until("the hand-back", async () =>
      (await sender.explain(id)).attempts[0]?.end?.startsWith("released"),
    );
    expect(ran).toEqual(["one"]);
    await sender.unpause(id);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: 2 });
    expect(ran).toEqual(["one", "two"]);
    expect((await sender.getIntent(id)).lostDeliveries).toBe(0);
  });
});

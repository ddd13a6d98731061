// A wait and steps that run at the same time: neither cuts the other off.
import { describe, expect, it } from "vitest";
import { until } from "../support/server.ts";
import {
  eventsOf,
  newAddress,
  newClient,
  newProcess,
  quiet,
  send,
  sender,
  stepsPut,
  untilWaiting,
  useServer,
  waiting,
} from "./agents.ts";

useServer();

describe("a wait beside steps", () => {
  const orders: [
    string,
    (work: () => Promise<unknown>, wait: () => Promise<unknown>) => Promise<unknown>[],
  ][] = [
    ["after", (work, wait) => [work(), wait()]],
    ["before", (work, wait) => [wait(), work()]],
  ];

  it.each(orders)("called %s a step begins when that is recorded, and the next one too", async (_, order) => {
    const address = newAddress();
    const { client, network, log } = newProcess();
    const ran: string[] = [];
    client.listen(
      address,
      async (ctx) => {
        const work = async () => {
          await ctx.step("one", () => void ran.push("one"));
          // What is waited for comes of a step: cutting that off would be waiting for ever.
          await ctx.step("two", async () => {
            ran.push("two");
            await sender.signal(ctx.id, "go", "from two");
          });
          return "worked";
        };
        const results = await Promise.all(order(work, () => ctx.waitForSignal("go")));
        return results.sort();
      },
      quiet,
    );
    const id = await send(address);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: ["from two", "worked"] });
    expect(ran).toEqual(["one", "two"]);
    expect(stepsPut(network, "signal:go")).toHaveLength(1);
    expect(log.filter((line) => !line.startsWith("info"))).toEqual([]);
    expect((await sender.getIntent(id)).attempt).toBe(1);
  });

  it("parks with the steps done, and skips them afterwards", async () => {
    const address = newAddress();
    const { client, log } = newProcess();
    let ran = 0;
    client.listen(
      address,
      async (ctx) => Promise.all([ctx.waitForSignal("go"), ctx.step("beside", () => ++ran)]),
      quiet,
    );
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_TOOL");
    expect(ran).toBe(1);
    await sender.signal(id, "go", "went");
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: ["went", 1] });
    expect(ran).toBe(1);
    expect(log.filter((line) => !line.startsWith("info"))).toEqual([]);
  });

  it("holds back a step that would find the attempt over", async () => {
    const address = newAddress();
    const { client, network, log } = newProcess();
    const ran: number[] = [];
    client.listen(
      address,
      async (ctx) => {
        if (ctx.attempt === 1) network.freeze();
        const wait = ctx.waitForSignal("go");
        if (ctx.attempt === 1)
          await until("the wait to be asked for", () => stepsPut(network, "signal:go")[0]);
        const late = ctx.step("late", () => void ran.push(ctx.attempt));
        network.thaw();
        await Promise.all([wait, late]);
      },
      quiet,
    );
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_TOOL");
    await until("the end of the attempt", () => log.length > 0);
    expect(stepsPut(network, "late")).toEqual([]);
    await sender.signal(id, "go");
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ status: "COMPLETED" });
    expect(ran).toEqual([2]);
    expect(log.filter((line) => !line.startsWith("info"))).toEqual([]);
    expect(await eventsOf(id)).not.toContain("stale_write_refused");
  });

  it("and several waits side by side follow one another", async () => {
    const address = newAddress();
    const { client, log } = newProcess();
    client.listen(
      address,
      async (ctx) => Promise.all([ctx.waitForSignal("a"), ctx.waitForSignal("b"), ctx.sleep("c", 20)]),
      quiet,
    );
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_TOOL");
    await sender.signal(id, "b", 2);
    await sender.signal(id, "a", 1);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: [1, 2, null] });
    expect(log.filter((line) => !line.startsWith("info"))).toEqual([]);
  });

  it("asks again when the server still counts a step", async () => {
    const address = newAddress();
    const { network } = newProcess();
    let refused = 0;
    const refusing: typeof fetch = async (input, init) => {
      if (init?.method === "PUT" && String(input).includes("signal%3Ago") && refused++ === 0) {
        const body = JSON.stringify({ code: "steps_pending", detail: "a step is running", status: 409 });
        return new Response(body, { status: 409, headers: { "content-type": "application/problem+json" } });
      }
      return await network.fetch(input, init);
    };
    const client = newClient(refusing);
    client.listen(address, (ctx) => ctx.waitForSignal("go"), quiet);
    const id = await send(address);
    await sender.signal(id, "go", "went");
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "went" });
    expect(refused).toBeGreaterThanOrEqual(2);
  });
});

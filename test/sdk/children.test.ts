// Children of an intent: sent once, waited for together, ended with their parent.
import { describe, expect, it } from "vitest";
import { type Context, IntentFailure, type Outcome, PerdureError } from "../../sdk/src/index.ts";
import { until } from "../support/server.ts";
import {
  codeOf,
  eventsOf,
  gate,
  newAddress,
  newProcess,
  quiet,
  send,
  sender,
  untilWaiting,
  useServer,
  waiting,
} from "./agents.ts";

useServer();

describe("children", () => {
  const childrenOf = async (id: string) => {
    const found: string[] = [];
    for await (const intent of sender.listIntents({ parentIntentId: id })) found.push(intent.id);
    return found.sort();
  };

  it.each([
    ["one child", "/v1/intents", (ctx: Context, input: never) => ctx.sendIntent("fan", input)],
    ["a list", "/v1/intents/batch", (ctx: Context, input: never) => ctx.sendIntents("fan", [input, input])],
  ])("sent once when the process dies between sending and recording: %s", async (_, path, fan) => {
    const address = newAddress();
    const handler = async (ctx: Context) => {
      const input = { intentType: "sub", toAgent: "nobody", payload: { of: ctx.id }, detached: true };
      return await fan(ctx, input as never);
    };
    const first = newProcess((request, network) => {
      if (request === `POST ${path}`) network.kill();
    });
    first.client.listen(address, handler, { ...quiet, consumer: "same" });
    const id = await send(address);
    const sent = await until("the children", async () => {
      const found = await childrenOf(id);
      return found.length > 0 && found;
    });
    newProcess().client.listen(address, handler, { ...quiet, consumer: "same" });
    const outcome = (await sender.waitFor(id, waiting)) as Outcome & { result: unknown };
    expect(outcome).toMatchObject({ status: "COMPLETED" });
    expect([outcome.result].flat().sort()).toEqual(sent);
    expect(await childrenOf(id)).toEqual(sent);
    expect((await sender.getIntent(id)).attempt).toBe(2);
  });

  it("what the first try sent counts, also when the second would send something else", async () => {
    const address = newAddress();
    const handler = (n: number) => (ctx: Context) =>
      ctx.sendIntent("child", { intentType: "sub", toAgent: "nobody", payload: { n }, detached: true });
    const first = newProcess((request, network) => {
      if (request === "POST /v1/intents") network.kill();
    });
    first.client.listen(address, handler(1), { ...quiet, consumer: "same" });
    const id = await send(address);
    const [child] = await until("the child", async () => {
      const found = await childrenOf(id);
      return found.length > 0 && found;
    });
    newProcess().client.listen(address, handler(2), { ...quiet, consumer: "same" });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: child });
    expect((await sender.getIntent(child ?? "")).payload).toEqual({ n: 1 });
  });

  it("are waited for together: twenty outcomes in the order of their ids, failures among them", async () => {
    const address = newAddress();
    const workers = newAddress();
    const handler = async (ctx: Context) => {
      const inputs = Array.from({ length: 20 }, (_, n) => ({
        intentType: "sub",
        toAgent: workers,
        payload: { n },
      }));
      const ids = await ctx.sendIntents("fan", inputs);
      const outcomes = await ctx.waitFor<number>(ids);
      const same = outcomes.every((outcome, n) => outcome.id === ids[n]);
      return {
        same,
        results: outcomes.map((one) => (one.status === "COMPLETED" ? one.result : one.error.code)),
      };
    };
    const parent = newProcess();
    parent.client.listen(address, handler, quiet);
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_AGENT");
    newProcess().client.listen<{ n: number }>(
      workers,
      (ctx) => {
        if (ctx.payload.n === 13) throw new IntentFailure("no", { code: "unlucky", retryable: false });
        return ctx.payload.n * 10;
      },
      { ...quiet, capacity: 4 },
    );
    const expected = Array.from({ length: 20 }, (_, n) => (n === 13 ? "unlucky" : n * 10));
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      result: { same: true, results: expected },
    });
    expect(await childrenOf(id)).toHaveLength(20);
    const intent = await sender.getIntent(id);
    expect([intent.attempt, intent.lostDeliveries]).toEqual([2, 0]);
    expect((await eventsOf(id)).filter((type) => type === "step_waiting")).toHaveLength(1);
    expect(parent.log).toContainEqual("info waiting pub (for 20 intents); work is saved");
  });

  it("with results too large to be recorded together are read one by one", async () => {
    const address = newAddress();
    const workers = newAddress();
    const { client } = newProcess();
    client.listen<{ n: number }>(
      workers,
      (ctx) => {
        if (ctx.payload.n === 2) throw new IntentFailure("no", { code: "unlucky", retryable: false });
        return String(ctx.payload.n).repeat(600_000);
      },
      { ...quiet, capacity: 3 },
    );
    client.listen(
      address,
      async (ctx) => {
        const inputs = [0, 1, 2].map((n) => ({ intentType: "sub", toAgent: workers, payload: { n } }));
        const outcomes = await ctx.waitFor<string>(await ctx.sendIntents("fan", inputs));
        return outcomes.map((one) =>
          one.status === "COMPLETED" ? [one.result[0], one.result.length] : one.error.code,
        );
      },
      quiet,
    );
    const id = await send(address);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      result: [["0", 600_000], ["1", 600_000], "unlucky"],
    });
  });

  it("are canceled with their parent, unless detached; nobody else's can be waited for", async () => {
    const address = newAddress();
    const stranger = await send("nobody");
    newProcess().client.listen(
      address,
      async (ctx) => {
        const input = { intentType: "sub", toAgent: "nobody", payload: {} };
        const own = await ctx.sendIntent("own", input);
        const free = await ctx.sendIntent("free", { ...input, detached: true });
        const refused = await codeOf(ctx.waitFor(stranger));
        await ctx.state.set("seen", { own, free, refused });
        await ctx.waitFor([own, free]);
      },
      quiet,
    );
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_AGENT");
    const seen = await sender.state(`intent:${id}`).get<Record<string, string>>("seen");
    expect(seen?.refused).toBe("not_a_child");
    await sender.cancel(id);
    await expect(sender.waitFor(seen?.own ?? "", waiting)).resolves.toMatchObject({ status: "CANCELED" });
    expect(await sender.getIntent(seen?.free ?? "")).toMatchObject({
      status: "SUBMITTED",
      parentIntentId: id,
    });
    await sender.cancel(seen?.free ?? "");
    await sender.cancel(stranger);
  });

  it("of an attempt that is over are refused, and the handler is told", async () => {
    const address = newAddress();
    const zombie = newProcess();
    const began = gate();
    let afterwards: unknown;
    zombie.client.listen(
      address,
      async (ctx) => {
        zombie.network.freeze();
        began.open();
        const input = { intentType: "sub", toAgent: "nobody", payload: {} };
        await ctx.sendIntent("child", input).catch((error: unknown) => {
          afterwards = error;
        });
      },
      { ...quiet, lease: "1s" },
    );
    const id = await send(address);
    await began.opened;
    newProcess().client.listen(address, () => "heir", quiet);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "heir" });
    zombie.network.thaw();
    await until("the zombie to learn of it", () => afterwards);
    expect(PerdureError.is(afterwards, "attempt_ended")).toBe(true);
    expect(await childrenOf(id)).toEqual([]);
  });
});

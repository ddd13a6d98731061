// An intent that waits is nobody's work, and wakes in whatever process listens.
import { describe, expect, it } from "vitest";
import type { Context, PerdureError } from "../../sdk/src/index.ts";
import { until } from "../support/server.ts";
import {
  codeOf,
  eventsOf,
  forever,
  gate,
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

interface Kind {
  name: string;
  reason: string;
  key: string;
  line: RegExp;
  wait: (ctx: Context) => Promise<unknown>;
  end: (id: string) => Promise<unknown>;
  result: unknown;
}

const childAddress = (parent: string) => `child-of-${parent}`;
const kinds: Kind[] = [
  {
    name: "a signal",
    reason: "WAITING_FOR_TOOL",
    key: "signal:go",
    line: /^info waiting pub \(for signal go\); work is saved$/,
    wait: (ctx) => ctx.waitForSignal("go"),
    end: (id) => sender.signal(id, "go", { by: "ann" }),
    result: { by: "ann" },
  },
  {
    name: "a decision",
    reason: "WAITING_FOR_HUMAN",
    key: "approve",
    line: /^info waiting pub \(for a decision: Publish\?\); work is saved$/,
    wait: (ctx) => ctx.ask("approve", { title: "Publish?", requireComment: true }),
    end: (id) => sender.decide(id, { outcome: "approved", comment: "fine", data: { n: 1 } }),
    result: expect.objectContaining({
      outcome: "approved",
      comment: "fine",
      data: { n: 1 },
      decidedBy: expect.any(String),
      decidedAt: expect.stringMatching(/^\d{4}-.*Z$/),
    }),
  },
  {
    name: "time",
    reason: "WAITING_FOR_TIME",
    key: "nap",
    line: /^info waiting pub \(for 1\.5 s\); work is saved$/,
    wait: async (ctx) => (await ctx.sleep("nap", "1500ms")) ?? "slept",
    end: async () => undefined,
    result: "slept",
  },
  {
    name: "a child",
    reason: "WAITING_FOR_AGENT",
    key: "wait:ID",
    line: /^info waiting pub \(for intent [-0-9a-f]{36}\); work is saved$/,
    wait: async (ctx) => {
      const input = { intentType: "sub", toAgent: childAddress(ctx.id), payload: {} };
      const { status, ...rest } = await ctx.waitFor(await ctx.sendIntent("child", input));
      return { status, result: (rest as { result?: unknown }).result };
    },
    end: (id) => newProcess().client.listen(childAddress(id), () => "child's", quiet).ready,
    result: { status: "COMPLETED", result: "child's" },
  },
];

describe("a wait", () => {
  it.each(kinds)("for $name holds nothing, survives its process, and goes on in another", async (kind) => {
    const address = newAddress();
    const ran: string[] = [];
    const handler = (process: string) => async (ctx: Context) => {
      await ctx.step("before", () => void ran.push(`${process} before`));
      const result = await kind.wait(ctx);
      await ctx.step("after", () => void ran.push(`${process} after`));
      return result;
    };
    const first = newProcess();
    const agent = first.client.listen(address, handler("first"), quiet);
    const id = await send(address);
    await untilWaiting(id, kind.reason);
    await until("the agent to hold nothing", () => agent.active.length === 0);
    expect(first.log.at(-1)).toMatch(kind.line);
    expect(first.log.filter((line) => !line.startsWith("info"))).toEqual([]);
    expect(first.network.requests.some((one) => /\/(start|release|resolve)$/.test(one))).toBe(false);
    first.network.kill();
    const second = newProcess();
    second.client.listen(address, handler("second"), quiet);
    await kind.end(id);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: kind.result });
    expect(ran).toEqual(["first before", "second after"]);
    expect(await sender.getIntent(id)).toMatchObject({ attempt: 2, lostDeliveries: 0 });
  });

  it.each(kinds)("for $name is replayed once it is recorded, without asking again", async (kind) => {
    const address = newAddress();
    const seen: unknown[] = [];
    const handler = (dies: boolean) => async (ctx: Context) => {
      seen.push(await kind.wait(ctx));
      return await ctx.step("after", (step) => (dies ? forever(step) : "done"));
    };
    const first = newProcess();
    first.client.listen(address, handler(true), { ...quiet, consumer: "same" });
    const id = await send(address);
    await untilWaiting(id, kind.reason);
    await kind.end(id);
    await until("the step", async () => (await sender.getIntent(id)).progress.current === "after");
    first.network.kill();
    const second = newProcess();
    second.client.listen(address, handler(false), { ...quiet, consumer: "same" });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "done" });
    expect(seen).toEqual([kind.result, kind.result]);
    const asked = second.network.requests.filter((one) => one.startsWith("PUT"));
    expect(asked.map((one) => one.split("/").at(-1))).toEqual(["after", "after"]);
  });

  it("gives its place to other work", async () => {
    const address = newAddress();
    const { client } = newProcess();
    client.listen<{ waits: boolean }>(
      address,
      async (ctx) => (ctx.payload.waits ? await ctx.waitForSignal("go") : "other"),
      { ...quiet, capacity: 1 },
    );
    const waits = await send(address, { payload: { waits: true } });
    const other = await send(address, { payload: { waits: false } });
    await expect(sender.waitFor(other, waiting)).resolves.toMatchObject({ result: "other" });
    await untilWaiting(waits, "WAITING_FOR_TOOL");
    await sender.signal(waits, "go", "went");
    await expect(sender.waitFor(waits, waiting)).resolves.toMatchObject({ result: "went" });
  });

  it("whose answer is lost is one wait all the same", async () => {
    const address = newAddress();
    const { network } = newProcess();
    let asked = 0;
    const losing: typeof fetch = async (input, init) => {
      const response = await network.fetch(input, init);
      if (init?.method === "PUT" && asked++ === 0) throw new TypeError("the connection was cut");
      return response;
    };
    const client = newClient(losing);
    const agent = client.listen(address, (ctx) => ctx.waitForSignal("go"), quiet);
    const id = await send(address);
    await until("the second try's answer", () => asked === 2 && agent.active.length === 0);
    await sender.signal(id, "go", "went");
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "went" });
    expect(await sender.getIntent(id)).toMatchObject({ attempt: 2, lostDeliveries: 0 });
    expect((await eventsOf(id)).filter((type) => type === "step_waiting")).toHaveLength(1);
  });

  it("tells the handler that its attempt is over, and takes nothing it does afterwards for its result", async () => {
    const address = newAddress();
    const { client } = newProcess();
    const thrown: unknown[] = [];
    const aborted: boolean[] = [];
    client.listen(
      address,
      async (ctx) => {
        const data = await ctx.waitForSignal("go").catch((error: unknown) => {
          thrown.push((error as PerdureError).code);
          aborted.push(ctx.signal.aborted);
          return "swallowed";
        });
        return await ctx.step("after", () => data);
      },
      quiet,
    );
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_TOOL");
    await sender.signal(id, "go", "went");
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "went" });
    expect([thrown, aborted]).toEqual([["attempt_ended"], [true]]);
  });

  it("behaves as a step does while its agent drains: the intent goes back", async () => {
    const address = newAddress();
    const first = newProcess();
    const began = gate();
    const go = gate();
    const agent = first.client.listen(
      address,
      async (ctx) => {
        const slow = ctx.step("slow", async () => {
          began.open();
          await go.opened;
        });
        await Promise.all([slow, ctx.waitForSignal("go")]);
      },
      quiet,
    );
    const id = await send(address);
    await began.opened;
    const stopping = agent.stop();
    go.open();
    await expect(stopping).resolves.toEqual({ handedBack: [{ id, done: 1 }] });
    expect(stepsPut(first.network, "signal:go")).toEqual([]);
    expect((await sender.getIntent(id)).waitingReason).toBeUndefined();
    await sender.cancel(id);
  });

  it("inside a step of an object of steps is refused at once", async () => {
    const address = newAddress();
    const { client } = newProcess();
    client.listen(address, { ask: (ctx: Context) => ctx.ask("approve", { title: "Sure?" }) }, quiet);
    const id = await send(address);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      status: "FAILED",
      error: { code: "validation_failed", message: expect.stringContaining("inside a step") },
    });
  });

  it("for a date that has passed, or for no intent at all, is over at once", async () => {
    const address = newAddress();
    const { client } = newProcess();
    client.listen(
      address,
      async (ctx) => {
        await ctx.sleep("long ago", new Date(0));
        await ctx.sleep("no time", 0);
        return await ctx.waitFor([]);
      },
      quiet,
    );
    const id = await send(address);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: [] });
    expect((await sender.getIntent(id)).attempt).toBe(1);
  });

  it("ends when the intent is canceled", async () => {
    const address = newAddress();
    newProcess().client.listen(address, (ctx) => ctx.waitForSignal("never"), quiet);
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_TOOL");
    await sender.cancel(id);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ status: "CANCELED" });
    expect(await codeOf(sender.signal(id, "never"))).toBe("intent_terminal");
  });
});

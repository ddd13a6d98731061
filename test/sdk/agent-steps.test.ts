// A handler's start and its steps: recorded once, whatever happens to the connection or the process.
import { describe, expect, it } from "vitest";
import { type Context, PerdureError } from "../../sdk/src/index.ts";
import { startTestServer, until } from "../support/server.ts";
import {
  forever,
  gate,
  newAddress,
  newProcess,
  quiet,
  sender,
  server,
  useServer,
  waiting,
} from "./agents.ts";

useServer();

describe("the start of a handler", () => {
  it("is said by whatever the handler does at once, else in a moment", async () => {
    const address = newAddress();
    const { client, network } = newProcess();
    const slow = gate();
    const agent = client.listen<{ does: string }>(
      address,
      async (ctx) => {
        if (ctx.payload.does === "step") await ctx.step("a", () => 1);
        if (ctx.payload.does === "slow") await slow.opened;
      },
      quiet,
    );
    await agent.ready;
    const run = async (does: string) => {
      const from = network.requests.length;
      const id = await sender.sendIntent({ intentType: "x", toAgent: address, payload: { does } });
      if (does === "slow") {
        await until("the start", () => network.requests.slice(from).some((one) => one.endsWith("/start")));
        slow.open();
      }
      await sender.waitFor(id, waiting);
      const types: string[] = [];
      for await (const event of sender.observe(id)) types.push(event.type.replace("intent.", ""));
      const said = network.requests.slice(from).filter((one) => one.includes(id));
      return { types, writes: said.map((one) => one.split("/").at(-1)) };
    };
    const begun = ["created", "submitted", "delivered", "in_progress"];
    expect(await run("nothing")).toEqual({ types: [...begun, "completed"], writes: ["resolve"] });
    expect(await run("step")).toEqual({
      types: [...begun, "step_running", "step_done", "completed"],
      writes: ["a", "a", "resolve"],
    });
    expect(await run("slow")).toEqual({ types: [...begun, "completed"], writes: ["start", "resolve"] });
  });

  it("refused ends the work: a paused intent goes back untouched", async () => {
    const address = newAddress();
    const { client, network } = newProcess();
    let runs = 0;
    const agent = client.listen(
      address,
      async (ctx) => {
        runs += 1;
        if (runs > 1) return "second";
        network.freeze();
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
        return "first";
      },
      quiet,
    );
    await agent.ready;
    const id = await sender.sendIntent({ intentType: "x", toAgent: address, payload: {} });
    await until("the start", () => network.requests.some((one) => one.endsWith("/start")));
    await sender.pause(id);
    network.thaw();
    await until("the hand-back", () => runs === 1 && agent.active.length === 0);
    await sender.unpause(id);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "second" });
    expect((await sender.getIntent(id)).lostDeliveries).toBe(0);
  });
});

describe("a handler with ctx.step", () => {
  it("records each step once and completes with what it returns, as JSON gives it back", async () => {
    const address = newAddress();
    const { client } = newProcess();
    let seen: unknown;
    const agent = client.listen<{ n: number }>(
      address,
      async (ctx) => {
        const when = await ctx.step("when", () => ({ at: new Date(0), gone: undefined }));
        const [a, b] = await Promise.all([ctx.step("part", () => 1), ctx.step("part", () => 2)]);
        seen = { when, results: { ...ctx.results }, attempt: ctx.attempt, redelivered: ctx.redelivered };
        return { sum: a + b + ctx.payload.n };
      },
      quiet,
    );
    await agent.ready;
    expect(agent.state).toBe("listening");
    const id = await sender.sendIntent({ intentType: "sum", toAgent: address, payload: { n: 4 } });
    await expect(sender.waitFor(id, waiting)).resolves.toEqual({
      id,
      status: "COMPLETED",
      result: { sum: 7 },
    });
    expect(seen).toEqual({
      when: { at: "1970-01-01T00:00:00.000Z" },
      results: { when: { at: "1970-01-01T00:00:00.000Z" }, part: 1, "part#2": 2 },
      attempt: 1,
      redelivered: false,
    });
    // The sender may know of the end before the agent has its own answer.
    await until("the agent holds nothing", () => agent.active.length === 0);
  });

  it("goes on where a dead process stopped: done steps are skipped, the one in between has the same key", async () => {
    const address = newAddress();
    const ran: string[] = [];
    const keys: string[] = [];
    const handler = (dies: boolean) => async (ctx: Context) => {
      for (const name of ["one", "two"]) await ctx.step(name, () => ran.push(name));
      const third = await ctx.step("three", (step) => {
        keys.push(`${step.tries} ${step.interrupted} ${step.idempotencyKey}`);
        return dies ? forever(step) : "three";
      });
      return [third, ctx.results.one];
    };
    const first = newProcess();
    first.client.listen(address, handler(true), { ...quiet, consumer: "same" });
    const id = await sender.sendIntent({ intentType: "etl", toAgent: address, payload: {} });
    await until("step three to begin", () => keys.length === 1);
    first.network.kill();
    const second = newProcess();
    second.client.listen(address, handler(false), { ...quiet, consumer: "same" });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: ["three", 1] });
    expect(ran).toEqual(["one", "two"]);
    expect(keys[0]).toMatch(/^1 false /);
    expect(keys[1]).toBe(keys[0]?.replace("1 false", "2 true"));
    expect(second.log.find((line) => line.startsWith("info resuming"))).toMatch(
      /^info resuming etl \(skipped one, two(; \d+\.\d s of work kept)?\)$/,
    );
    expect((await sender.getIntent(id)).lostDeliveries).toBeLessThanOrEqual(1);
  });

  it("keeps what it holds over a broken stream and runs nothing again", async () => {
    const address = newAddress();
    const { client, network } = newProcess();
    const began = gate();
    const go = gate();
    let runs = 0;
    client.listen(
      address,
      (ctx) =>
        ctx.step("slow", async () => {
          runs++;
          began.open();
          await go.opened;
          return "done";
        }),
      quiet,
    );
    const id = await sender.sendIntent({ intentType: "slow", toAgent: address, payload: {} });
    await began.opened;
    const streams = () => network.requests.filter((line) => line.endsWith("/stream")).length;
    const before = streams();
    network.cut();
    await until("the stream to come back", () => streams() > before);
    go.open();
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "done" });
    const intent = await sender.getIntent(id);
    expect([runs, intent.attempt, intent.lostDeliveries]).toEqual([1, 1, 0]);
  });

  it("keeps working and records its step while the server is away", async () => {
    const address = newAddress();
    const other = await startTestServer({ databaseUrl: server.databaseUrl });
    try {
      const { client, network } = newProcess();
      const began = gate();
      const go = gate();
      network.turnTo(other.url);
      client.listen(
        address,
        (ctx) =>
          ctx.step("slow", async () => {
            began.open();
            await go.opened;
            return "kept";
          }),
        quiet,
      );
      const id = await sender.sendIntent({ intentType: "slow", toAgent: address, payload: {} });
      await began.opened;
      network.turnTo("http://127.0.0.1:9");
      network.cut();
      go.open();
      const writes = () => network.requests.filter((line) => line.includes("/steps/slow")).length;
      // One began the step, two found nobody.
      await until("repeated writes", () => writes() >= 3);
      network.turnTo(server.url);
      await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "kept" });
      expect((await sender.getIntent(id)).attempt).toBeLessThanOrEqual(2);
    } finally {
      await other.close();
    }
  });

  it("stops quietly when another process has taken over: its late writes are refused and change nothing", async () => {
    const address = newAddress();
    const zombie = newProcess();
    const began = gate<AbortSignal>();
    const go = gate();
    let afterwards: unknown;
    zombie.client.listen(
      address,
      async (ctx) => {
        await ctx
          .step("work", async () => {
            began.open(ctx.signal);
            await go.opened;
            return "zombie";
          })
          .catch((error: unknown) => {
            afterwards = error;
            throw error;
          });
      },
      { ...quiet, lease: "1s" },
    );
    const id = await sender.sendIntent({ intentType: "fenced", toAgent: address, payload: {} });
    const signal = await began.opened;
    zombie.network.freeze();
    go.open();
    const { client } = newProcess();
    client.listen(address, (ctx) => ctx.step("work", () => "heir"), quiet);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "heir" });
    zombie.network.thaw();
    await until("the zombie to learn of it", () => signal.aborted);
    // Its step hears that it is over, or the first recorded result, whichever answer comes first.
    expect([undefined, "attempt_ended"]).toContain((afterwards as PerdureError | undefined)?.code);
    expect(zombie.log.filter((line) => line.includes("is over"))).toHaveLength(1);
    expect(await sender.getIntent(id)).toMatchObject({ result: "heir", attempt: 2 });
  });

  it("aborts the signal when the intent is canceled", async () => {
    const address = newAddress();
    const { client } = newProcess();
    const aborted = gate<unknown>();
    client.listen(
      address,
      (ctx) => {
        ctx.signal.addEventListener("abort", () => aborted.open(ctx.signal.reason));
        return ctx.step("endless", forever);
      },
      quiet,
    );
    const id = await sender.sendIntent({ intentType: "endless", toAgent: address, payload: {} });
    await until("work to begin", async () => (await sender.getIntent(id)).status === "IN_PROGRESS");
    await sender.cancel(id, { reason: "not needed" });
    expect(PerdureError.is(await aborted.opened, "attempt_ended")).toBe(true);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ status: "CANCELED" });
  });

  it("tells watchers how far it is, the newest last", async () => {
    const address = newAddress();
    const { client } = newProcess();
    client.listen(
      address,
      (ctx) => {
        for (let percent = 0; percent <= 100; percent++) ctx.progress({ percent, message: `at ${percent}` });
      },
      quiet,
    );
    const id = await sender.sendIntent({ intentType: "slow", toAgent: address, payload: {} });
    const seen: number[] = [];
    for await (const event of sender.observe(id))
      if (event.type === "intent.progress") seen.push(event.details.percent);
    expect(seen.at(-1)).toBe(100);
    expect(seen.length).toBeLessThan(50);
  });
});

// Agents against a real server: steps recorded once, whatever happens to the connection or the process.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type AgentHandle,
  type Context,
  IntentFailure,
  type ListenOptions,
  PerdureClient,
  PerdureError,
  type Step,
} from "../../sdk/src/index.ts";
import { startTestServer, type TestServer, until } from "../support/server.ts";
import { createNetwork, type Network } from "./network.ts";

let server: TestServer;
let sender: PerdureClient;
const clients: PerdureClient[] = [];
let addresses = 0;

beforeAll(async () => {
  server = await startTestServer();
  sender = new PerdureClient({ baseUrl: server.url, logger: false });
});
afterAll(async () => {
  // Together: closing one whose network was killed takes its whole drain timeout.
  await Promise.all(clients.map((client) => client.close()));
  await sender?.close();
  await server?.close();
});

const newAddress = () => `worker-${++addresses}`;

interface Agency {
  client: PerdureClient;
  network: Network;
  log: string[];
}

/** A process of its own, as far as the server can tell. */
function newProcess(): Agency {
  const network = createNetwork(server.url);
  const log: string[] = [];
  const line = (...args: unknown[]) => void log.push(args.map(String).join(" "));
  const logger = { debug() {}, info: line, warn: line, error: line };
  const client = new PerdureClient({ baseUrl: server.url, fetch: network.fetch, logger });
  clients.push(client);
  return { client, network, log };
}

const quiet: ListenOptions = { handleSignals: false, drainTimeout: "2s" };
const waiting = { timeout: "15s" } as const;

/** A promise and its resolver. */
function gate<T = void>() {
  let open!: (value: T) => void;
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** Never settles by itself: a step that is at work until its process dies or its attempt ends. */
const forever = (step: { signal: AbortSignal }) =>
  new Promise<never>((_, reject) => step.signal.addEventListener("abort", () => reject(step.signal.reason)));

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
    expect(second.log.find((line) => line.startsWith("resuming"))).toMatch(
      /^resuming etl \(skipped one, two(; \d+\.\d s of work kept)?\)$/,
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
    expect(first.log).toContain("handed back etl 2/3 (saved extract, transform)");
    const second = newProcess();
    second.client.listen(address, plan("second"), quiet);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "loaded" });
    expect(ran).toEqual(["first extract", "first transform", "second load"]);
    expect(second.log[0]).toMatch(/^resuming etl 3\/3 \(skipped extract, transform/);
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

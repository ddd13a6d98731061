// Waits, children and checkpoints against a real server: an intent that waits is nobody's work, and wakes in whatever process listens.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Context,
  IntentFailure,
  type ListenOptions,
  type OpenTask,
  type Outcome,
  PerdureClient,
  PerdureError,
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
  await Promise.all(clients.map((client) => client.close()));
  await sender?.close();
  await server?.close();
});

const newAddress = () => `waiter-${++addresses}`;

interface Agency {
  client: PerdureClient;
  network: Network;
  log: string[];
}

/** A process of its own, as far as the server can tell. `intercept` sees every answer before its client does. */
function newProcess(intercept?: (request: string, network: Network) => void): Agency {
  const network = createNetwork(server.url);
  const log: string[] = [];
  const line =
    (level: string) =>
    (...args: unknown[]) =>
      void log.push([level, ...args].map(String).join(" "));
  const logger = { debug() {}, info: line("info"), warn: line("warn"), error: line("error") };
  const watched: typeof fetch = async (input, init) => {
    const response = await network.fetch(input, init);
    intercept?.(`${init?.method ?? "GET"} ${new URL(String(input)).pathname}`, network);
    return response;
  };
  const client = new PerdureClient({ baseUrl: server.url, fetch: watched, logger });
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

const send = (address: string, input: object = {}) =>
  sender.sendIntent({ intentType: "pub", toAgent: address, payload: {}, ...input });
const untilWaiting = (id: string, reason: string) =>
  until(`${reason}`, async () => (await sender.getIntent(id)).waitingReason === reason);
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "no error",
    (error: unknown) => (PerdureError.is(error) ? error.code : `not ours: ${error}`),
  );
const eventsOf = async (id: string) => {
  const types: string[] = [];
  for await (const event of sender.observe(id)) types.push(event.type.replace("intent.", ""));
  return types;
};
const stepsPut = (network: Network, key: string) =>
  network.requests.filter(
    (one) => one.startsWith("PUT") && decodeURIComponent(one).endsWith(`/steps/${key}`),
  );

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
    const client = new PerdureClient({ baseUrl: server.url, fetch: losing, logger: false });
    clients.push(client);
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
    const client = new PerdureClient({ baseUrl: server.url, fetch: refusing, logger: false });
    clients.push(client);
    client.listen(address, (ctx) => ctx.waitForSignal("go"), quiet);
    const id = await send(address);
    await sender.signal(id, "go", "went");
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: "went" });
    expect(refused).toBeGreaterThanOrEqual(2);
  });
});

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

describe("checkpoints", () => {
  it("keep the first naming over replays, and take the intent back", async () => {
    const address = newAddress();
    const ran: string[] = [];
    newProcess().client.listen(
      address,
      async (ctx) => {
        await ctx.step("a", () => void ran.push("a"));
        await ctx.checkpoint("half way");
        await ctx.step("b", () => void ran.push("b"));
        return await ctx.waitForSignal("go");
      },
      quiet,
    );
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_TOOL");
    const [named] = await sender.checkpoints(id);
    expect(named).toEqual({
      name: "half way",
      seq: expect.any(Number),
      createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
      createdBy: expect.any(String),
      metadata: {},
      stepsDone: 1,
    });
    await sender.signal(id, "go", 1);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: 1 });
    expect(await sender.checkpoints(id)).toEqual([named]);
    await sender.restore(id, "half way");
    // What the superseded wait took is there again.
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: 1 });
    expect(ran).toEqual(["a", "b", "b"]);
    expect(await codeOf(sender.restore(id, "nowhere"))).toBe("checkpoint_not_found");
    expect(await codeOf(sender.restore(id, 1_000_000))).toBe("validation_failed");
  });
});

describe("people", () => {
  it("see what waits for them, and their first decision counts", async () => {
    const address = newAddress();
    newProcess().client.listen(
      address,
      (ctx) =>
        ctx.ask("approve", {
          title: "Publish?",
          description: "It is long.",
          outcomes: ["publish", "drop"],
          assignees: ["ann"],
          requireComment: true,
          form: { type: "object", required: ["channel"], properties: { channel: { type: "string" } } },
          remindAfter: "1h",
          deadline: "1d",
        }),
      quiet,
    );
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_HUMAN");
    const tasks: OpenTask[] = [];
    for await (const task of sender.listTasks({ assignee: "ann" })) tasks.push(task);
    expect(tasks).toEqual([
      {
        intentId: id,
        step: "approve",
        intentType: "pub",
        status: "WAITING",
        fromAgent: expect.any(String),
        title: "Publish?",
        description: "It is long.",
        outcomes: ["publish", "drop"],
        assignees: ["ann"],
        form: expect.objectContaining({ required: ["channel"] }),
        requireComment: true,
        assignedAt: expect.stringMatching(/^\d{4}-.*Z$/),
        dueAt: expect.stringMatching(/^\d{4}-.*Z$/),
      },
    ]);
    for await (const task of sender.listTasks({ assignee: "bob" })) expect.unreachable(task.title);
    const data = { channel: "blog" };
    const decide = (outcome: string, rest: object) => codeOf(sender.decide(id, { outcome, ...rest }));
    expect(await decide("approved", { comment: "c", data })).toBe("validation_failed");
    expect(await decide("publish", { data })).toBe("validation_failed");
    expect(await decide("publish", { comment: "c", data: { channel: 1 } })).toBe("validation_failed");
    const right = { outcome: "publish", comment: "c", data };
    expect(await sender.decide(id, right, { step: "approve" })).toMatchObject({ id });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      result: { outcome: "publish", comment: "c", data },
    });
    expect(await decide("publish", { comment: "c", data })).toBe("no error");
    expect(await decide("drop", { comment: "c", data })).toBe("already_decided");
    expect(await codeOf(sender.decide(await send("nobody"), right))).toBe("no_human_task");
  });

  it("may be asked without any agent: the decision is the result", async () => {
    const humanTask = { title: "Refund 40 €?", deadline: "2d" } as const;
    const id = await send("support", { humanTask });
    await untilWaiting(id, "WAITING_FOR_HUMAN");
    await sender.decide(id, { outcome: "rejected" });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      status: "COMPLETED",
      result: { outcome: "rejected" },
    });
    const late = await send("support", { humanTask: { ...humanTask, deadline: "100ms" } });
    await expect(sender.waitFor(late, waiting)).resolves.toMatchObject({ status: "TIMED_OUT" });
  });
});

describe("sessions", () => {
  it("are listed, paused, canceled and deleted as groups", async () => {
    const session = "trip";
    const ids = await Promise.all([1, 2, 3].map(() => send("nobody", { session, retention: { keep: 5 } })));
    await sender.cancel(ids[0] ?? "");
    expect(await sender.sessions.get(session)).toEqual({
      name: session,
      paused: false,
      createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
      lastActivityAt: expect.stringMatching(/^\d{4}-.*Z$/),
      intents: { total: 3, SUBMITTED: 2, CANCELED: 1 },
    });
    const listed: string[] = [];
    for await (const { name } of sender.sessions.list()) listed.push(name);
    expect(listed).toContain(session);
    expect(await sender.sessions.pause(session, { reason: "wait" })).toMatchObject({
      session: { paused: true },
    });
    expect(await sender.sessions.unpause(session)).toMatchObject({ session: { paused: false } });
    expect(await codeOf(sender.sessions.delete(session))).toBe("session_active");
    expect(await sender.sessions.cancel(session)).toMatchObject({
      session: { intents: { total: 3, CANCELED: 3 } },
      changed: 2,
    });
    expect(await sender.sessions.delete(session)).toBe(3);
    expect(await codeOf(sender.sessions.get(session))).toBe("session_not_found");
  });
});

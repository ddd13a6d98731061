// State through the SDK, against a real server: a client's, and a handler's under its attempt.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PerdureClient } from "../../sdk/src/index.ts";
import { startTestServer, type TestServer, until } from "../support/server.ts";
import { createNetwork } from "./network.ts";

let server: TestServer;
let client: PerdureClient;
beforeAll(async () => {
  server = await startTestServer();
  client = new PerdureClient({ baseUrl: server.url, logger: false });
});
afterAll(async () => {
  await client?.close();
  await server?.close();
});

const quiet = { handleSignals: false, drainTimeout: "2s" } as const;
const waiting = { timeout: "40s" } as const;
async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe("a client's state", () => {
  it("is read, written, removed and listed, with its history", async () => {
    const state = client.state("session:sdk");
    expect(await state.get("missing")).toBeUndefined();
    expect(await state.set("a/1", { n: 1 })).toBe(1);
    expect(await state.set("a/1", { n: 2 })).toBe(2);
    expect(await state.get<{ n: number }>("a/1")).toEqual({ n: 2 });
    expect(await state.entry("a/1", 1)).toMatchObject({ value: { n: 1 }, version: 1 });
    await state.set("a/2", null);
    await state.set("b", "b");
    expect((await all(state.list("a/"))).map((entry) => [entry.key, entry.value])).toEqual([
      ["a/1", { n: 2 }],
      ["a/2", null],
    ]);
    await state.delete("a/1");
    await state.delete("a/1");
    expect(await state.entry("a/1")).toBeUndefined();
    expect((await all(state.versions("a/1"))).map((entry) => entry.version)).toEqual([2, 1]);
  });

  it("refuses a stale version, and a commit is all or nothing", async () => {
    const state = client.state("agent:sdk");
    await state.commit([
      { key: "x", value: 1, ifVersion: 0 },
      { key: "y", value: 1 },
    ]);
    await expect(state.set("x", 2, { ifVersion: 0 })).rejects.toMatchObject({
      code: "version_conflict",
      status: 409,
    });
    await expect(
      state.commit([
        { key: "y", delete: true },
        { key: "x", value: 9, ifVersion: 7 },
      ]),
    ).rejects.toMatchObject({ code: "version_conflict" });
    expect(await state.get("y")).toBe(1);
    await expect(state.set("x", undefined)).rejects.toMatchObject({ code: "validation_failed" });
    expect(() => client.state("nowhere:x" as never)).toThrow("is not a scope");
  });

  it("counts every update of twenty at once", async () => {
    const state = client.state("session:counter");
    await Promise.all(Array.from({ length: 20 }, () => state.update<number>("n", (old = 0) => old + 1)));
    expect(await state.entry("n")).toMatchObject({ value: 20, version: 20 });
  });

  it("writes once when the answer is lost", async () => {
    const network = createNetwork(server.url);
    let lost = 1;
    const unlucky = new PerdureClient({
      baseUrl: server.url,
      logger: false,
      fetch: async (...request) => {
        const response = await network.fetch(...request);
        if (request[1]?.method === "PUT" && lost-- > 0) throw new TypeError("the answer was lost");
        return response;
      },
    });
    expect(await unlucky.state("session:lost").set("k", 1, { ifVersion: 0 })).toBe(1);
    expect(network.requests.filter((one) => one.startsWith("PUT"))).toHaveLength(2);
    await unlucky.close();
  });
});

describe("a handler's state", () => {
  it("outlives its agent, is shared by session and address, and goes into the log", async () => {
    const address = "stateful";
    const agent = client.listen(
      address,
      async (ctx) => {
        const seen = (await ctx.state.get<number>("seen")) ?? 0;
        await ctx.state.set("seen", seen + 1);
        await ctx.stateOf("session").update<number>("total", (old = 0) => old + 1);
        await ctx.stateOf("agent").set("last", ctx.id);
        return seen;
      },
      quiet,
    );
    await agent.ready;
    const send = () => client.sendIntent({ intentType: "x", toAgent: address, payload: {}, session: "team" });
    const ids = [await send(), await send()];
    for (const id of ids) await expect(client.waitFor(id, waiting)).resolves.toMatchObject({ result: 0 });
    expect(await client.state(`intent:${ids[0]}`).get("seen")).toBe(1);
    expect(await client.state("session:team").get("total")).toBe(2);
    expect(await client.state(`agent:${address}`).get("last")).toBe(ids[1]);
    const events = await all(client.observe(ids[0] as string));
    expect(events.filter((event) => event.type === "intent.state_changed")).toHaveLength(3);
    await agent.stop();
  });

  it("beside a step is written with its result: a try that fails leaves nothing", async () => {
    let tries = 0;
    const agent = client.listen(
      "beside-sdk",
      async (ctx) => {
        await ctx.step(
          "work",
          (step) => {
            tries += 1;
            step.state.set("cursor", tries);
            step.state.delete("old");
            if (tries === 1) {
              step.state.set("only the first try", true);
              throw new Error("no");
            }
          },
          { retry: { maxRetries: 1, initialDelay: 1 } },
        );
      },
      quiet,
    );
    await agent.ready;
    const id = await client.sendIntent({ intentType: "x", toAgent: "beside-sdk", payload: {} });
    await client.waitFor(id, waiting);
    const state = client.state(`intent:${id}`);
    expect((await all(state.list())).map((entry) => [entry.key, entry.value])).toEqual([["cursor", 2]]);
    await agent.stop();
  });

  it("of an attempt that is over is refused, and the handler is told", async () => {
    const network = createNetwork(server.url);
    const zombie = new PerdureClient({ baseUrl: server.url, fetch: network.fetch, logger: false });
    const refused: string[] = [];
    const agent = zombie.listen(
      "zombie-state",
      async (ctx) => {
        network.freeze();
        await ctx.state.set("who", "zombie").catch((error: { code: string }) => refused.push(error.code));
      },
      { ...quiet, consumer: "z", lease: "2s" },
    );
    await agent.ready;
    const id = await client.sendIntent({ intentType: "x", toAgent: "zombie-state", payload: {} });
    await until("the lease is over", async () => (await client.getIntent(id)).lostDeliveries === 1);
    network.thaw();
    await until("the refusal", () => refused.length > 0);
    expect(refused).toEqual(["attempt_ended"]);
    expect(await client.state(`intent:${id}`).get("who")).toBeUndefined();
    await zombie.close();
  });
});

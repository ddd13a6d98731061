// Steps whose recording follows behind the work: what they may run ahead of, and what a crash then costs.
import { expect, test } from "vitest";
import type { Context, Step } from "../../sdk/src/index.ts";
import { until } from "../support/server.ts";
import { newAddress, newProcess, quiet, send, sender, server, useServer, waiting } from "./agents.ts";

useServer();
const behind = { durability: "async" } as const;

async function statusOf(id: string): Promise<Record<string, string>> {
  const answer = await fetch(`${server.url}/v1/intents/${id}/steps`);
  const { steps } = (await answer.json()) as { steps: { key: string; status: string }[] };
  return Object.fromEntries(steps.map(({ key, status }) => [key, status]));
}

test("an async step returns before it is recorded, one ahead at most; a sync step and a checkpoint come after all of it", async () => {
  const address = newAddress();
  const { client, network } = newProcess();
  const seen: Record<string, Record<string, string>> = {};
  const look = (ctx: Context) => async (step: Step) => {
    seen[step.key] = await statusOf(ctx.id);
    return step.key;
  };
  let reached = "";
  const agent = client.listen(
    address,
    async (ctx) => {
      const a = await ctx.step("a", () => network.freeze() ?? "a", behind);
      const b = await ctx.step("b", () => (reached = "b"), behind);
      const c = await ctx.step("c", look(ctx), behind);
      const d = await ctx.step("d", look(ctx));
      const e = await ctx.step("e", () => "e", behind);
      await ctx.checkpoint("here");
      seen.checkpoint = await statusOf(ctx.id);
      return [a, b, c, d, e];
    },
    quiet,
  );
  await agent.ready;
  const id = await send(address);
  await until("the second step", () => reached === "b");
  expect(await statusOf(id)).not.toMatchObject({ a: "done" });
  network.thaw();
  await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: ["a", "b", "c", "d", "e"] });
  expect(seen.c).toMatchObject({ a: "done" });
  expect(seen.d).toMatchObject({ a: "done", b: "done", c: "done", d: "running" });
  expect(seen.checkpoint).toMatchObject({ d: "done", e: "done" });
});

test("a crash costs the step at work and the one before it, which run again and are recorded once", async () => {
  const address = newAddress();
  const ran: string[] = [];
  const first = newProcess();
  const work =
    (ends: boolean, cut: () => void = () => undefined) =>
    async (ctx: Context) => {
      const note = (step: Step) => ran.push(step.key);
      await ctx.step("a", note);
      await ctx.step("b", (step) => cut() ?? note(step), behind);
      await ctx.step(
        "c",
        async (step) => note(step) && (ends || (await new Promise(() => undefined))),
        behind,
      );
      return ctx.results;
    };
  const agent = first.client.listen(address, work(false, first.network.freeze), quiet);
  await agent.ready;
  const id = await send(address);
  await until("the third step", () => ran.includes("c"));
  first.network.kill();
  first.network.thaw();
  const second = newProcess();
  await second.client.listen(address, work(true), quiet).ready;
  await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: { a: 1, b: 4, c: true } });
  expect(ran).toEqual(["a", "b", "c", "b", "c"]);
  const done: unknown[] = [];
  for await (const event of sender.observe(id))
    if (event.type === "intent.step_done") done.push(event.details?.key);
  expect(done).toEqual(["a", "b", "c"]);
});

test("a result that the server refuses fails the intent, and no sync step comes after it", async () => {
  const address = newAddress();
  const { client } = newProcess();
  const ran: string[] = [];
  const agent = client.listen<{ next?: "sync" | "async" }>(
    address,
    async (ctx) => {
      await ctx.step("a", (step) => step.state.set("n", 1, { ifVersion: 7 }), behind);
      const durability = ctx.payload.next;
      if (durability !== undefined) await ctx.step("b", () => ran.push(durability), { durability });
      return "done";
    },
    quiet,
  );
  await agent.ready;
  for (const payload of [{}, { next: "sync" }, { next: "async" }]) {
    const id = await send(address, { payload });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      status: "FAILED",
      error: { code: "version_conflict" },
    });
    expect(await statusOf(id)).toMatchObject({ a: "failed" });
  }
  expect(ran).not.toContain("sync");
});

test("a failed try is recorded before the next one, as that of any step", async () => {
  const address = newAddress();
  const { client } = newProcess();
  const tries: number[] = [];
  const agent = client.listen(
    address,
    (ctx) =>
      ctx.step(
        "a",
        (step) => {
          tries.push(step.tries);
          if (step.tries < 3) throw new Error("not yet");
          return step.tries;
        },
        { ...behind, retry: { maxRetries: 3, initialDelay: 1 } },
      ),
    quiet,
  );
  await agent.ready;
  await expect(sender.waitFor(await send(address), waiting)).resolves.toMatchObject({ result: 3 });
  expect(tries).toEqual([1, 2, 3]);
});

test("what must not happen twice is kept out: no idempotency key, no onInterrupt", async () => {
  const address = newAddress();
  const { client } = newProcess();
  const agent = client.listen<{ asks: boolean }>(
    address,
    (ctx) =>
      ctx.payload.asks
        ? ctx.step("a", () => 1, { ...behind, onInterrupt: "ask" })
        : ctx.step("a", (step) => step.idempotencyKey, behind),
    quiet,
  );
  await agent.ready;
  for (const [asks, why] of [
    [true, "onInterrupt"],
    [false, "repetition"],
  ] as const) {
    const id = await send(address, { payload: { asks }, maxDeliveryAttempts: 1 });
    const outcome = await sender.waitFor(id, waiting);
    expect(outcome).toMatchObject({ status: "FAILED", error: { code: "validation_failed" } });
    expect(JSON.stringify(outcome)).toContain(why);
  }
});

test("declared steps may be async too; the last one completes the intent", async () => {
  const address = newAddress();
  const { client } = newProcess();
  const steps = Object.fromEntries(
    ["a", "b", "c", "d"].map((key) => [
      key,
      { run: (ctx: Context) => Object.keys(ctx.results).length, ...(key === "c" ? {} : behind) },
    ]),
  );
  const agent = client.listen(address, steps, quiet);
  await agent.ready;
  const id = await send(address);
  await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: 3 });
  expect(await statusOf(id)).toEqual({ a: "done", b: "done", c: "done", d: "done" });
});

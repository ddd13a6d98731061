// What a handler tells on its way: how far it is, and its result piece by piece.
import { expect, test } from "vitest";
import type { Context, Progress } from "../../sdk/src/index.ts";
import { until } from "../support/server.ts";
import { gate, newAddress, newProcess, quiet, send, sender, useServer, waiting } from "./agents.ts";

useServer();

const textOf = (told: readonly Progress[]) => told.map((one) => one.output ?? "").join("");

test("output reaches whoever waits while the work goes on, whole, in order, in few pieces", async () => {
  const address = newAddress();
  const { client } = newProcess();
  const seen = gate();
  const words = Array.from({ length: 500 }, (_, n) => `word ${n} `);
  const work = async (ctx: Context) => {
    ctx.write("first ");
    await seen.opened; // somebody has read it, and the work is not over
    for (const word of words) ctx.write(word);
    ctx.write("\ud83d");
    ctx.write("\ude00 \0 \udc00");
    return "done";
  };
  await client.listen(address, work, quiet).ready;
  const told: Progress[] = [];
  const onProgress = (progress: Progress) => {
    told.push(progress);
    seen.open();
  };
  const outcome = await sender.waitFor(await send(address), { ...waiting, onProgress });
  expect(outcome).toMatchObject({ status: "COMPLETED", result: "done" });
  expect(textOf(told)).toBe(`first ${words.join("")}\u{1f600} \ufffd \ufffd`);
  expect(told.length).toBeLessThan(10);
  let length = 0;
  for (const { output = "", outputOffset, attempt } of told) {
    expect({ outputOffset, attempt }).toEqual({ outputOffset: length, attempt: 1 });
    length += output.length;
  }
});

test("another attempt puts out anew, and says so", async () => {
  const address = newAddress();
  const first = newProcess();
  const told: Progress[] = [];
  const work = (ends: boolean) => async (ctx: Context) => {
    ctx.write(ends ? "second" : "fir");
    if (!ends) await new Promise(() => undefined);
  };
  await first.client.listen(address, work(false), quiet).ready;
  const id = await send(address);
  const ended = sender.waitFor(id, { ...waiting, onProgress: (progress) => told.push(progress) });
  await until("the first words", () => textOf(told) === "fir");
  first.network.kill();
  await newProcess().client.listen(address, work(true), quiet).ready;
  await ended;
  expect(told.map(({ output, outputOffset, attempt }) => [output, outputOffset, attempt])).toEqual([
    ["fir", 0, 1],
    ["second", 0, 2],
  ]);
});

test("what cannot be stored is put out as a replacement, and a large output in pieces that do not cut characters", async () => {
  const address = newAddress();
  const { client } = newProcess();
  const large = `x${"\u{1f600}".repeat(70_000)}`;
  const agent = client.listen<{ large: boolean }>(
    address,
    (ctx) => ctx.write(ctx.payload.large ? large : "a\0b\ud800c"),
    quiet,
  );
  await agent.ready;
  const outputOf = async (payload: { large: boolean }) => {
    const told: Progress[] = [];
    const id = await send(address, { payload });
    await sender.waitFor(id, { ...waiting, onProgress: (progress) => told.push(progress) });
    return told;
  };
  expect(textOf(await outputOf({ large: false }))).toBe("a\ufffdb\ufffdc");
  const pieces = await outputOf({ large: true });
  expect(textOf(pieces)).toBe(large);
  expect(pieces.length).toBe(9);
});

test("what a listener throws ends its wait", async () => {
  const address = newAddress();
  await newProcess().client.listen(address, (ctx) => ctx.write("x"), quiet).ready;
  const onProgress = () => {
    throw new Error("no more");
  };
  await expect(sender.waitFor(await send(address), { ...waiting, onProgress })).rejects.toThrow("no more");
});

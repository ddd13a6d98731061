// The loop that every background pass runs in.
import { expect, test } from "vitest";
import { createWorker } from "../../server/workers/service.ts";
import { until } from "../support/until.ts";

/** A worker whose passes last until they are let go. */
function heldWorker() {
  const held: (() => void)[] = [];
  let passes = 0;
  const worker = createWorker({
    name: "held",
    intervalMs: 3_600_000,
    onError: () => undefined,
    pass: () => {
      passes += 1;
      return new Promise<number>((resolve) => held.push(() => resolve(1)));
    },
  });
  return {
    worker,
    passes: () => passes,
    letGo: () => held.shift()?.(),
  };
}

test("a worker woken while a pass is under way begins another behind it", async () => {
  const { worker, passes, letGo } = heldWorker();
  worker.start();
  await until("the first pass", () => passes() === 1);
  worker.wake();
  await new Promise((resolve) => setTimeout(resolve, 5)); // the wake's own timer has come by then
  expect(passes()).toBe(1);
  letGo();
  await until("the second pass", () => passes() === 2);
  letGo();
  await worker.stop();
});

test("a worker that is stopped while a pass is under way begins no other, though it was woken", async () => {
  const { worker, passes, letGo } = heldWorker();
  worker.start();
  await until("the first pass", () => passes() === 1);
  worker.wake();
  await new Promise((resolve) => setTimeout(resolve, 5)); // the wake's own timer has come by then
  const stopped = worker.stop();
  letGo();
  await stopped;
  await new Promise((resolve) => setImmediate(resolve));
  expect(passes()).toBe(1);
});

test("passes asked for by hand at the same time are one", async () => {
  const { worker, passes, letGo } = heldWorker();
  const both = [worker.tick(), worker.tick()];
  letGo();
  expect(await Promise.all(both)).toEqual([1, 1]);
  expect(passes()).toBe(1);
});

// What a refused heartbeat means depends on the stream it was sent for.
import { expect, test } from "vitest";
import { PerdureError } from "../../sdk/src/errors.ts";
import { Heartbeats } from "../../sdk/src/heartbeats.ts";
import type { Http } from "../../sdk/src/http.ts";

/** Answers when told to. */
function openWire() {
  const asked: { resolve(answer: unknown): void; reject(error: unknown): void }[] = [];
  const http = {
    send: () => new Promise((resolve, reject) => asked.push({ resolve, reject })),
  } as unknown as Http;
  const refused: string[] = [];
  const standstills: number[] = [];
  const heartbeats = new Heartbeats(http, {
    ask: () => ({ incarnation: "i", holding: [], capacity: 1 }),
    onAnswer: () => undefined,
    onRefused: (error) => refused.push(error.code),
    onStandstill: (ms) => standstills.push(ms),
  });
  return { asked, refused, standstills, heartbeats };
}

const lost = () => new PerdureError("consumer_lost", "open the stream again", { status: 409 });

test("a heartbeat that the server refuses makes the agent connect again", async () => {
  const { asked, refused, heartbeats } = openWire();
  heartbeats.begin("c", 10_000);
  asked[0]?.reject(lost());
  await heartbeats.beat();
  expect(refused).toEqual(["consumer_lost"]);
  heartbeats.stop();
});

test("a refusal of what was asked before the newest stream opened leaves that stream alone", async () => {
  const { asked, refused, heartbeats } = openWire();
  heartbeats.begin("c", 10_000);
  heartbeats.begin("c", 10_000);
  asked[0]?.reject(lost());
  await expect.poll(() => asked.length).toBe(2);
  asked[1]?.resolve({ held: [], lost: [], canceled: [], paused: [] });
  expect(refused).toEqual([]);
  heartbeats.stop();
});

test("a process that stood still for longer than a heartbeat is told so", async () => {
  const { asked, standstills, heartbeats } = openWire();
  heartbeats.begin("c", 100);
  asked[0]?.resolve({ held: [], lost: [], canceled: [], paused: [] });
  await new Promise(setImmediate); // the answer is taken, and the next heartbeat set
  // Nothing else of this process runs meanwhile.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
  await expect.poll(() => standstills.length).toBe(1);
  expect(standstills[0]).toBeGreaterThan(100);
  heartbeats.stop();
});

// The server against the reference model: random sequences of what senders, agents, operators and time may do, alone and
// at the same time. MODEL_RUNS sets how many, MODEL_SEED replays (npm run test:model).
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { born } from "./asking.ts";
import { anyCommand, beginning } from "./commands.ts";
import { type SteerableServer, startSteerableServer } from "./steerable.ts";
import { System } from "./system.ts";

const RUNS = Number(process.env.MODEL_RUNS ?? 25);
const seed = Number(process.env.MODEL_SEED ?? Math.floor(Math.random() * 2 ** 31));

let server: SteerableServer;
beforeAll(async () => {
  server = await startSteerableServer();
});
afterAll(() => server.close());

test(
  "whatever is asked of the server, it answers and remembers as the model does",
  async () => {
    let runs = 0;
    const property = fc.asyncProperty(
      fc.subarray([0, 1, 2]),
      beginning(),
      fc.commands(anyCommand, { maxCommands: 40, size: "max" }),
      async (connected, bodies, commands) => {
        runs += 1;
        const run = `r${seed}x${runs}`;
        const system = new System(server, run, [
          { address: `${run}a`, capacity: 1, explicitAck: true },
          { address: `${run}a`, capacity: 2, explicitAck: false },
          { address: `${run}b`, capacity: 3, explicitAck: true },
        ]);
        try {
          for (const c of connected) await system.run([{ op: "connect", c, restart: false }]);
          for (const [n, body] of bodies.entries()) await system.run([born(body, `a${n}`)]);
          await fc.asyncModelRun(() => ({ model: {}, real: system }), commands);
          await system.verify();
        } finally {
          await system.close();
        }
      },
    );
    console.log(`MODEL_SEED=${seed} MODEL_RUNS=${RUNS}`);
    await fc.assert(property, {
      seed,
      numRuns: RUNS,
      endOnFailure: process.env.MODEL_SHRINK === "off",
      interruptAfterTimeLimit: limitMs(),
      markInterruptAsFailure: false,
    });
    expect(runs).toBeGreaterThan(0);
  },
  limitMs() * 3,
);

/** The short form has a share of `npm test`; the long one takes what it needs. */
function limitMs(): number {
  return process.env.MODEL_RUNS === undefined ? 25_000 : RUNS * 5_000 + 60_000;
}

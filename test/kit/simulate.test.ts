// simulate(): one agent, one intent, what goes wrong said in sentences; time passes while everybody waits.
import { afterEach, expect, test, vi } from "vitest";
import { IntentFailure } from "../../sdk/src/index.ts";
import { memoryBackend } from "../../sdk/src/testing/backend.ts";
import { type Fault, type Simulation, simulate } from "../../sdk/src/testing/index.ts";

afterEach(() => {
  vi.useRealTimers();
});

const charging: Simulation["agent"] =
  ({ ledger }) =>
  async (ctx) => {
    const item = await ctx.step("reserve", () => "book");
    const seen = await ctx.step("charge", async (step) => {
      await ledger.effect("charge", { key: step.idempotencyKey });
      return { tries: step.tries, interrupted: step.interrupted };
    });
    return { item, ...seen, attempt: ctx.attempt };
  };
const after = (...faults: Fault[]) => simulate({ agent: charging, faults });
const typesOf = ({ events }: Awaited<ReturnType<typeof after>>) =>
  events.map(({ type }) => type.replace("intent.", ""));

test("without a fault the agent runs once, and every point it came to is named", async () => {
  const story = await after();
  expect(story.outcome).toMatchObject({
    status: "COMPLETED",
    result: { item: "book", tries: 1, interrupted: false, attempt: 1 },
  });
  expect(story.points).toEqual([
    "deliver",
    "begin reserve",
    "record reserve",
    "begin charge",
    "effect charge",
    "record charge",
    "complete",
  ]);
});

test("a crash before a step leaves nothing in doubt", async () => {
  const { outcome } = await after("crash before begin charge");
  expect(outcome).toMatchObject({ result: { tries: 1, interrupted: false, attempt: 2 } });
});

test("a crash between begin and record leaves the step in doubt, and runs it again under the same key", async () => {
  const story = await after("crash after begin charge");
  expect(story.outcome).toMatchObject({ result: { tries: 2, interrupted: true, attempt: 2 } });
  const twice = await after("crash after effect charge");
  expect(twice.times("charge")).toBe(1);
  expect(String(twice)).toContain("effect charge: known by its key, nothing happens");
});

test("a crash after the record skips the step, whose result was never heard of", async () => {
  const { outcome } = await after("crash after record charge");
  expect(outcome).toMatchObject({ result: { tries: 1, interrupted: false, attempt: 2 } });
});

test("a lost reply makes the SDK ask again, and nothing happens twice", async () => {
  const story = await after("lose reply to record charge", "lose reply to complete");
  expect(story.outcome).toMatchObject({ status: "COMPLETED", result: { attempt: 1 } });
  expect(typesOf(story).filter((type) => type === "step_done")).toHaveLength(2);
  expect(typesOf(story).filter((type) => type === "completed")).toHaveLength(1);
});

test("an agent that lost its lease goes on when another has come to the end, and what it writes is refused", async () => {
  const story = await after("lose lease before record charge");
  expect(story.outcome).toMatchObject({ result: { tries: 2, interrupted: true, attempt: 2 } });
  expect(typesOf(story).slice(-2)).toEqual(["completed", "stale_write_refused"]);
  expect(String(story)).toMatch(/agent 2 +complete\n +agent 1 +goes on at record charge\n/);
});

test("an agent whose work another has already may overlap with it: its record is refused, the other's stands", async () => {
  const story = await after("overlap before record charge");
  expect(story.outcome).toMatchObject({ result: { tries: 2, interrupted: true, attempt: 2 } });
  expect(typesOf(story).indexOf("stale_write_refused")).toBeLessThan(typesOf(story).indexOf("completed"));
});

test("an agent that is told to stop records the step at work and hands the rest back at no cost", async () => {
  const story = await after("stop before record reserve");
  expect(story.outcome).toMatchObject({ result: { tries: 1, attempt: 2 } });
  expect(typesOf(story)).toContain("released");
  expect(typesOf(story)).not.toContain("lost");
});

test("a delivery that comes twice is taken once", async () => {
  const story = await after("deliver twice");
  expect(story.times("charge")).toBe(1);
  expect(String(story).match(/is given/g)).toHaveLength(2);
});

test("faults come one after the other, each counted from the one before", async () => {
  const story = await after("crash after begin charge", "crash before record charge");
  expect(story.outcome).toMatchObject({ result: { tries: 3, attempt: 3 } });
});

test("days and delays pass at once, in their order", async () => {
  const began = performance.now();
  const { outcome } = await simulate({
    agent:
      ({ now }) =>
      async (ctx) => {
        const start = now();
        await ctx.step(
          "flaky",
          ({ tries }) => {
            if (tries < 3) throw new Error("not yet");
          },
          {
            retry: { maxRetries: 5, initialDelay: "1h", factor: 1 },
          },
        );
        const retried = now() - start;
        await ctx.sleep("month", "30d");
        return {
          retriedFor: ctx.attempt === 1 ? retried : "before",
          slept: now() - Date.now() > 29 * 86_400_000,
        };
      },
  });
  expect(outcome).toMatchObject({ result: { retriedFor: "before", slept: true } });
  expect(performance.now() - began).toBeLessThan(10_000);
});

test("a wait that nobody answers ends at its time limit", async () => {
  const { outcome } = await simulate({
    agent: () => (ctx) => ctx.waitForSignal("go", { timeout: "7d" }).catch((error) => error.code),
  });
  expect(outcome).toMatchObject({ result: "wait_timeout" });
});

test("a handler's own failure is tried again by the intent's policy", async () => {
  const { outcome } = await simulate({
    agent: () => (ctx) => {
      if (ctx.attempt < 3) throw new Error("not yet");
      return ctx.attempt;
    },
    intent: { retry: { maxRetries: 2, initialDelay: "1d" } },
  });
  expect(outcome).toMatchObject({ result: 3 });
});

test("signals, decisions and steps in doubt are answered, by a value or by somebody who looks at the world", async () => {
  const story = await simulate({
    agent:
      ({ ledger }) =>
      async (ctx) => {
        await ctx.step("charge", (step) => ledger.effect("charge", { reference: step.idempotencyKey }), {
          onInterrupt: "ask",
        });
        const { outcome } = await ctx.ask("approve", { title: "Ship it?" });
        return { outcome, ...(await ctx.waitForSignal("address")) };
      },
    answers: {
      charge: ({ ledger }: { ledger: { times(name: string): number } }) =>
        ledger.times("charge") === 0 ? "retry" : { done: null },
      approve: { outcome: "approved" },
      address: { city: "Bern" },
    },
    faults: ["crash after effect charge"],
  });
  expect(story.outcome).toMatchObject({ result: { outcome: "approved", city: "Bern" } });
  expect(story.times("charge")).toBe(1);
});

test("intents that it sends go to the other agents", async () => {
  const { outcome } = await simulate({
    agent: () => async (ctx) => {
      const ids = await ctx.sendIntents(
        "pages",
        [1, 2].map((page) => ({ intentType: "p", toAgent: "counter", payload: { page } })),
      );
      return (await ctx.waitFor(ids)).map((one) =>
        one.status === "COMPLETED" ? one.result : one.error.code,
      );
    },
    others: {
      counter: () => (ctx) => {
        if (ctx.payload.page === 2) throw new IntentFailure("torn", { code: "torn", retryable: false });
        return ctx.payload.page;
      },
    },
    faults: ["crash after send pages"],
  });
  expect(outcome).toMatchObject({ result: [1, "torn"] });
});

test("each life of the agent begins without what the last one had in memory", async () => {
  const { outcome } = await simulate({
    agent: () => {
      let calls = 0;
      return (ctx) => ctx.step("count", () => ++calls);
    },
    faults: ["crash before record count"],
  });
  expect(outcome).toMatchObject({ result: 1 });
});

test("a dead process runs no further, whatever it was waiting for", async () => {
  const seen: string[] = [];
  await simulate({
    agent:
      ({ ledger }) =>
      async (ctx) => {
        try {
          await Promise.all([
            ctx.step("a", () => ledger.effect("a")),
            ctx.step("b", async () => {
              await new Promise((resolve) => setTimeout(resolve, 20));
              await ledger.effect(`b of ${ctx.attempt}`);
            }),
          ]);
        } finally {
          seen.push(`attempt ${ctx.attempt}`);
        }
      },
    faults: ["crash after effect a"],
  }).then((story) => expect(story.effects.map(({ name }) => name)).toEqual(["a", "a", "b of 2"]));
  expect(seen).toEqual(["attempt 2"]);
});

test("a step that hangs has its time limit reached, once it has really hung for a while", async () => {
  const { outcome } = await simulate({
    agent: () => (ctx) => ctx.step("hang", () => new Promise(() => undefined), { timeout: "1h" }),
    patience: 50,
  });
  expect(outcome).toMatchObject({ status: "FAILED", error: { code: "step_timeout" } });
});

test("work that takes real time is waited for, and no time limit of hours is reached by it", async () => {
  const { outcome } = await simulate({
    agent: () => (ctx) =>
      Promise.all([
        ctx.step("slow", () => new Promise((resolve) => setTimeout(resolve, 100, "done")), {
          timeout: "10s",
        }),
        ctx.step(
          "flaky",
          ({ tries }) => {
            if (tries === 1) throw new Error("once");
          },
          { retry: { maxRetries: 1, initialDelay: "1h" } },
        ),
      ]),
    intent: { ttl: "2h" },
  });
  expect(outcome).toMatchObject({ status: "COMPLETED", result: ["done", null] });
});

test.each([
  ["a signal", (ctx) => ctx.waitForSignal("go"), 'waits for the signal "go": give its data in `answers`'],
  [
    "a decision",
    (ctx) => ctx.ask("ok", { title: "?" }),
    'waits for a decision about "ok": give { outcome } in `answers`',
  ],
  [
    "an intent to nobody",
    async (ctx) =>
      ctx.waitFor(await ctx.sendIntent("it", { intentType: "x", toAgent: "nobody", payload: {} })),
    "waits for intents that it has sent",
  ],
  [
    "a step that never returns",
    (ctx) => ctx.step("hang", () => new Promise(() => undefined)),
    'step "hang" of agent 1 has not returned',
  ],
] satisfies [string, ReturnType<Simulation["agent"]>, string][])(
  "%s that nobody answers ends the simulation with what would help",
  async (_, handler, message) => {
    await expect(simulate({ agent: () => handler, patience: 50 })).rejects.toThrow(message);
  },
);

test("a fault that the agent never came to is told, and so is what is no fault", async () => {
  await expect(after("crash before record ship")).rejects.toThrow(
    'never came to where it should have: "crash before record ship"',
  );
  await expect(after("crash maybe" as Fault)).rejects.toThrow('write one like "crash after record charge"');
  await expect(after("stop after begin charge" as Fault)).rejects.toThrow("is not a fault");
});

test("a handler where the agent should be is told", async () => {
  const handler = (async () => 1) as unknown as Simulation["agent"];
  await expect(simulate({ agent: handler })).rejects.toThrow("write `agent: () => handler`");
});

test("another plan than the one it began with is refused, and the intent ends by its deadline", async () => {
  const { outcome, events } = await simulate({
    agent: ({ ledger }) =>
      ledger.times("one") === 0 ? { one: () => ledger.effect("one"), two: () => 2 } : { one: () => 1 },
    intent: { ttl: "1m" },
    faults: ["crash before record two"],
  });
  expect(outcome).toMatchObject({ status: "TIMED_OUT" });
  expect(events.some(({ type }) => type === "intent.released")).toBe(true);
});

test("what the kit's server does not know it answers with 404, the SDK's batches too", async () => {
  const { fetch } = memoryBackend();
  const response = await fetch("http://memory/v1/batch", { method: "POST", body: '{"ops":[]}' });
  expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([404, "not_found"]);
});

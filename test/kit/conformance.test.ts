// The test kit's server in memory is to behave as the real one does: each script runs against both, and what handler, log and ledger
// show has to be the same.
import { afterAll, beforeAll, expect, test } from "vitest";
import { IntentFailure } from "../../sdk/src/index.ts";
import { memoryBackend } from "../../sdk/src/testing/backend.ts";
import type { Fault } from "../../sdk/src/testing/faults.ts";
import { play, type Simulation } from "../../sdk/src/testing/simulate.ts";
import type { Story } from "../../sdk/src/testing/story.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { realBackend } from "./real-backend.ts";

let server: TestServer;
beforeAll(async () => {
  // Leases end when a script says so, and not because the machine is busy.
  server = await startTestServer({
    env: {
      PERDURE_HEARTBEAT_INTERVAL_MS: "5000",
      PERDURE_LEASE_TTL_MS: "30000",
      PERDURE_RESTART_GRACE_MS: "10000",
      // Those that a script crashes are soon known to be gone.
      PERDURE_RECONNECT_GRACE_MS: "300",
    },
  });
});
afterAll(() => server.close());

interface Script extends Simulation {
  /** Requests under way at once reach a server in any order. */
  anyOrder?: boolean;
}

const cashier: Simulation["agent"] = ({ ledger }) => ({
  reserve: (ctx) => ({ item: ctx.payload.item }),
  charge: async (_, step) => {
    const charge = await ledger.effect("charge", { key: step.idempotencyKey, result: { id: "ch_1" } });
    return { ...charge, tries: step.tries, interrupted: step.interrupted };
  },
  receipt: (ctx) => ({ ...ctx.results.charge, ...ctx.results.reserve, attempt: ctx.attempt }),
});
const wrapped: Simulation["agent"] =
  ({ ledger }) =>
  async (ctx) => {
    const item = await ctx.step("reserve", () => ctx.payload.item);
    const charge = await ctx.step("charge", (step) =>
      ledger.effect("charge", { reference: step.idempotencyKey, result: 12 }),
    );
    return { item, charge, attempt: ctx.attempt, redelivered: ctx.redelivered };
  };
const payload = { item: "book" };
const steps = (...faults: Fault[]): Script => ({ agent: cashier, intent: { payload }, faults });
const handler = (...faults: Fault[]): Script => ({ agent: wrapped, intent: { payload }, faults });

const scripts: Record<string, Script> = {
  "an object of steps": steps(),
  "a handler": handler(),
  "a plan of the sender": { agent: cashier, intent: { payload, steps: ["reserve", "charge", "receipt"] } },
  "a handler under a plan of the sender": {
    agent: wrapped,
    intent: { payload, steps: ["reserve", "charge"] },
  },
  "an agent without a function for a step": {
    agent: cashier,
    intent: { payload, steps: ["reserve", "ship"] },
  },
  "a crash before the start": steps("crash before start"),
  "a crash after the start": steps("crash after start"),
  "a crash before an effect": steps("crash before effect charge"),
  "a crash after an effect": steps("crash after effect charge"),
  "a crash before a record": handler("crash before record charge"),
  "a crash after a record": handler("crash after record charge"),
  "two crashes in one step": steps("crash after effect charge", "crash after effect charge"),
  "three crashes without progress": handler(
    "crash before record charge",
    "crash before record charge",
    "crash before record charge",
  ),
  "a crash before the end": handler("crash before complete"),
  "a crash after the end": handler("crash after complete"),
  "a lost reply to the start": steps("lose reply to start"),
  "a lost reply to a begin": handler("lose reply to begin charge"),
  "a lost reply to a record": steps("lose reply to record charge"),
  "a lost reply to the last record": steps("lose reply to record receipt"),
  "a lost reply to the end": handler("lose reply to complete"),
  "a delivery that comes twice": handler("deliver twice"),
  "a lease lost before a begin": handler("lose lease before begin charge"),
  "a lease lost before a record": steps("lose lease before record charge"),
  "a lease lost after a record": handler("lose lease after record charge"),
  "a lease lost before an effect": handler("lose lease before effect charge"),
  "a lease lost before the end": handler("lose lease before complete"),
  "a stop before a step": steps("stop before record reserve"),
  "a stop in a step": handler("stop before record charge"),
  "a stop before the end": handler("stop before complete"),
};

scripts["a step that fails and is tried again"] = {
  agent:
    ({ ledger }) =>
    async (ctx) =>
      ctx.step(
        "flaky",
        async (step) => {
          await ledger.effect("try");
          if (step.tries < 3) throw new Error(`try ${step.tries}`);
          return step.tries;
        },
        { retry: { maxRetries: 2, initialDelay: 10 } },
      ),
};
scripts["a step that fails for good"] = {
  agent: () => async (ctx) => {
    const told = await ctx
      .step("bad", () => {
        throw new IntentFailure("no", { code: "not_today", retryable: false, details: { why: 1 } });
      })
      .catch((error) => ({ code: error.code, message: error.message, details: error.details }));
    await ctx.step("after", () => told);
    throw new IntentFailure("gave up", { code: "gave_up", retryable: false });
  },
  faults: ["crash before record after"],
};
scripts["a declared step that fails"] = {
  agent: () => ({
    one: () => 1,
    two: () => {
      throw new IntentFailure("no", { code: "not_today", retryable: false });
    },
  }),
};
scripts["a handler that fails and is tried again later"] = {
  agent:
    ({ ledger }) =>
    async (ctx) => {
      await ctx.step("one", () => ledger.effect("one"));
      if (ctx.attempt < 3) throw new Error(`attempt ${ctx.attempt}`);
      return ctx.attempt;
    },
  intent: { retry: { maxRetries: 2, initialDelay: 20 } },
};
scripts["a declared step that fails and is tried again later"] = {
  agent: () => ({
    one: (ctx) => {
      if (ctx.attempt < 2) throw new Error("not yet");
      return ctx.attempt;
    },
  }),
  intent: { retry: { maxRetries: 1, initialDelay: 20 } },
};
scripts["a result that JSON cannot carry"] = { agent: () => (ctx) => ctx.step("big", () => 1n) };
scripts["on_interrupt fail"] = {
  agent:
    ({ ledger }) =>
    (ctx) =>
      ctx.step("charge", () => ledger.effect("charge"), { onInterrupt: "fail" }),
  faults: ["crash after effect charge"],
};
const asking = (answer: unknown, form: "handler" | "steps"): Script => ({
  agent: ({ ledger }) => {
    const charge = (step: { idempotencyKey: string }) =>
      ledger.effect("charge", { reference: step.idempotencyKey, result: "ch_1" });
    return form === "steps"
      ? { charge: { run: (_, step) => charge(step), onInterrupt: "ask" } }
      : async (ctx) => ctx.step("charge", charge, { onInterrupt: "ask" });
  },
  answers: { charge: answer },
  faults: ["crash after effect charge"],
});
scripts["on_interrupt ask, done"] = asking({ done: "ch_1" }, "handler");
scripts["on_interrupt ask, done, as the plan's last"] = asking({ done: "ch_1" }, "steps");
scripts["on_interrupt ask, retry"] = asking("retry", "handler");
scripts["on_interrupt ask, fail"] = asking("fail", "steps");
scripts["on_interrupt as a function that looks"] = {
  agent: ({ ledger }) => ({
    charge: {
      run: (_, step) => ledger.effect("charge", { reference: step.idempotencyKey, result: "ch_1" }),
      onInterrupt: async (step) => {
        const found = ledger.find(step.idempotencyKey);
        return found === undefined ? "retry" : { done: found.result };
      },
    },
    receipt: (ctx) => ctx.results.charge,
  }),
  faults: ["crash after effect charge"],
};
scripts["waiting for everything"] = {
  agent:
    ({ ledger }) =>
    async (ctx) => {
      await ctx.step("draft", () => ledger.effect("draft"));
      await ctx.sleep("nap", 30);
      const { outcome, comment, data } = await ctx.ask("approve", {
        title: "Publish?",
        outcomes: ["yes", "no"],
      });
      const late = await ctx.waitForSignal("late", { timeout: 30 }).catch((error) => error.code);
      const go = await ctx.waitForSignal("go");
      return { go, outcome, comment, data, late, attempt: ctx.attempt };
    },
  answers: { go: { n: 1 }, approve: { outcome: "yes", comment: "fine", data: { a: 1 } } },
  faults: ["crash after wait nap", "crash before wait approve", "lose reply to wait signal:go"],
};
const parent: Simulation["agent"] = () => async (ctx) => {
  const to = `${ctx.payload.child}`;
  const first = await ctx.sendIntent("first", { intentType: "k", toAgent: to, payload: { n: 1 } });
  const more = await ctx.sendIntents(
    "more",
    [2, 3].map((n) => ({ intentType: "k", toAgent: to, payload: { n } })),
  );
  const outcomes = await ctx.waitFor([...more, first]);
  const outcome = await ctx.waitFor(first);
  return [outcome, ...outcomes].map((one) => (one.status === "COMPLETED" ? one.result : one.error.code));
};
// Asleep until its parent waits for it.
const kid: Simulation["agent"] = () => async (ctx) => {
  await ctx.sleep("nap", 1_500);
  if (ctx.payload.n === 3) throw new IntentFailure("three", { code: "no_three", retryable: false });
  return { twice: ctx.payload.n * 2 };
};
const family = (...faults: Fault[]): Script => ({ agent: parent, others: { kid }, faults, anyOrder: true });
scripts.children = family();
scripts["children sent by one that crashed"] = family("crash after send first", "crash before record more");
scripts["children sent by one that lost its lease"] = family("lose lease before send first");
scripts.state = {
  agent: () => async (ctx) => {
    await ctx.step("one", (step) => {
      step.state.set("total", 1);
      return 1;
    });
    await ctx.state.set("note", { a: [1, 2] });
    await ctx.state.delete("note");
    const sum = await ctx.state.update("total", (old: number | undefined) => (old ?? 0) + 1);
    const conflict = await ctx.state.set("total", 9, { ifVersion: 1 }).catch((error) => error.code);
    const session = ctx.stateOf("session");
    await session.commit([
      { key: "a", value: 1 },
      { key: "b", value: ctx.attempt },
    ]);
    await ctx.checkpoint("half");
    const entry = await session.entry("a");
    const versions: unknown[] = [];
    for await (const one of ctx.state.versions("total")) versions.push([one.version, one.value]);
    const listed: string[] = [];
    for await (const one of session.list()) listed.push(one.key);
    return { sum, conflict, entry: entry?.version, versions, listed, gone: await ctx.state.get("note") };
  },
  intent: { session: "conformance" },
  faults: ["lose reply to write note", "crash after checkpoint half"],
};
scripts["steps side by side"] = {
  agent:
    ({ ledger }) =>
    (ctx) =>
      Promise.all(["a", "b", "c"].map((key) => ctx.step(key, () => ledger.effect(key)))),
  anyOrder: true,
};
scripts["async steps"] = {
  agent:
    ({ ledger }) =>
    async (ctx) => {
      for (const key of ["a", "b", "c"])
        await ctx.step(key, () => ledger.effect(key, { result: key }), { durability: "async" });
      return ctx.results;
    },
  faults: ["crash before effect c"],
  anyOrder: true,
};
scripts["progress and output"] = {
  agent: () => async (ctx) => {
    ctx.progress({ percent: 50, message: "half" });
    await ctx.step("one", () => 1);
    ctx.write("words");
    return 1;
  },
  anyOrder: true,
};
scripts["a question instead of an agent"] = {
  agent: () => () => 1,
  intent: { humanTask: { title: "Refund?" } },
  answers: { human_task: { outcome: "approved" } },
};
scripts["a deadline while it waits"] = {
  agent: () => (ctx) => ctx.waitForSignal("never"),
  intent: { ttl: "2s" },
};
let runs = 0;

/** On addresses of its own. */
function onReal({ intent, others = {}, ...rest }: Script): Promise<Story> {
  const n = ++runs;
  const mine = Object.fromEntries(Object.entries(others).map(([name, agent]) => [`${name}-${n}`, agent]));
  return play(realBackend(server), {
    ...rest,
    patience: "60s",
    others: mine,
    intent: {
      ...intent,
      toAgent: `agent-${n}`,
      payload: { child: `kid-${n}`, ...(intent?.payload as object) },
    },
  });
}

const inMemory = ({ intent, ...rest }: Script): Promise<Story> =>
  play(memoryBackend(), {
    ...rest,
    intent: { ...intent, payload: { child: "kid", ...(intent?.payload as object) } },
  });

/** What is the same wherever it runs. */
function shown({ outcome, effects, events, points }: Story, { anyOrder }: Script) {
  const { id: _, ...end } = outcome;
  const log = events.map(({ type, status, attempt, details }) => {
    const { key, tries, result, question, steps, interrupted, final, error } = details ?? {};
    const about = { key, tries, interrupted, question, final, code: error?.code };
    const told =
      type === "intent.waiting"
        ? { steps }
        : type === "intent.step_done" && !isPrivate(result)
          ? { result }
          : {};
    return JSON.stringify({ type, status, attempt, ...about, ...told }).replaceAll(
      /wait:[0-9a-f-]{32,}/g,
      "wait:…",
    );
  });
  return {
    end: JSON.stringify(end).replace(/"decided_by":.*"}/, ""),
    effects: effects.map(({ name }) => name).sort(),
    log: anyOrder ? log.sort() : log,
    points: points.map((point) => point.replace(/wait:[0-9a-f-]{32,}/, "wait:…")).sort(),
  };
}

/** Results with ids and times in them. */
const isPrivate = (result: unknown): boolean =>
  /[0-9a-f]{8}-|decided_at/.test(JSON.stringify(result ?? null));

for (const [name, script] of Object.entries(scripts))
  test(`in memory as with a real server: ${name}`, async () => {
    const [memory, real] = [await inMemory(script), await onReal(script)];
    expect(shown(memory, script), `${memory}\n\n${real}`).toEqual(shown(real, script));
  });

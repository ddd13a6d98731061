// explore(): it finds what can be told from outside after a fault, says where, and passes agents of which nothing can be told.
import { expect, test, vi } from "vitest";
// @ts-expect-error an example, in plain JavaScript
import { orderAgent } from "../../examples/tested/order.mjs";
import { type Exploration, type ExplorationFailure, explore } from "../../sdk/src/testing/index.ts";

// Some fifty simulations in one test, and whoever runs it may have other things to do.
vi.setConfig({ testTimeout: 120_000 });

const order = { payload: { item: "book", amount: 12, email: "ann@example.org" } };

/** The shop of the example; a bank that is not given the key cannot tell a repetition. */
const shop =
  (keyed: boolean): Exploration["agent"] =>
  ({ ledger }) =>
    orderAgent({
      bank: {
        charge: (amount: number, key: string) =>
          ledger.effect(`charge ${amount}`, { ...(keyed ? { key } : {}), result: { id: "ch_1" } }),
      },
      mail: { send: (to: string, _: string, key: string) => ledger.effect(`mail to ${to}`, { key }) },
    });

const failureOf = (exploration: Exploration): Promise<ExplorationFailure> =>
  explore(exploration).then(
    () => expect.unreachable("nothing was found"),
    (error) => error,
  );

test("it finds the double charge of an agent that keeps its key to itself", async () => {
  const { message, faults } = await failureOf({ agent: shop(false), intent: order });
  expect(faults).toContainEqual(["crash after effect charge 12"]);
  expect(faults).toContainEqual(["crash before record charge"]);
  expect(faults).toContainEqual(["lose lease before effect charge 12"]);
  expect(faults).not.toContainEqual(["crash before effect charge 12"]);
  expect(message).toMatch(
    /^\d+ of \d+ runs in which something went wrong can be told from outside\. The first, crash after effect charge 12:/,
  );
  expect(message).toContain(
    '"charge 12" happened 2 times, and once without a fault. Pass step.idempotencyKey',
  );
});

test("it tells the story of the first, and how to see each again", async () => {
  const { message } = await failureOf({ agent: shop(false), intent: order, faults: ["crash"] });
  expect(message).toContain(
    [
      "  agent 1  record reserve, begin charge",
      "  agent 1  effect charge 12",
      "  agent 1  ✗ crash after effect charge 12",
      "  agent 2  is given test.v1, attempt 2 (done: reserve; in doubt: charge)",
      "  agent 2  start, begin charge",
      "  agent 2  effect charge 12: for the 2nd time",
    ].join("\n"),
  );
  expect(message).toContain('faults: ["crash after effect charge 12"]');
});

test("it passes the same agent once the bank is given the key", async () => {
  const { runs, story } = await explore({ agent: shop(true), intent: order });
  expect(runs.length).toBeGreaterThan(40);
  expect(new Set(runs.map(String)).size).toBe(runs.length);
  expect(story.outcome).toMatchObject({ status: "COMPLETED", result: "book: paid 12, ch_1" });
});

test("two crashes in a row are tried as well", async () => {
  const keyed: Exploration["agent"] = ({ ledger }) => ({
    charge: (_, step) => ledger.effect("charge", { key: step.idempotencyKey }),
  });
  const { runs } = await explore({ agent: keyed, faults: ["crash"], depth: 2 });
  expect(runs).toContainEqual(["crash after effect charge", "crash before record charge"]);
  const once: Exploration["agent"] =
    ({ ledger }) =>
    (ctx) =>
      // Right after one crash, wrong after two.
      ctx.step("charge", (step) =>
        step.tries === 2 ? ledger.times("charge") : ledger.effect("charge", { result: 1 }),
      );
  await explore({ agent: once, faults: ["crash"], accept: () => true }).catch(() => undefined);
  const { faults } = await failureOf({ agent: once, faults: ["crash"], depth: 2, accept: () => true });
  expect(faults.every((pair) => pair.length === 2)).toBe(true);
});

test("what was kept in memory and decides later is missed", async () => {
  const { message } = await failureOf({
    agent: () => {
      let total = 0;
      return async (ctx) => {
        for (const n of [1, 2, 3])
          await ctx.step(`add ${n}`, () => {
            total += n;
          });
        return total;
      };
    },
    faults: ["crash"],
  });
  expect(message).toContain("it ends otherwise: COMPLETED 5\n  without a fault: COMPLETED 6");
});

test("an effect that the next life believes done is missed", async () => {
  const { message } = await failureOf({
    agent:
      ({ ledger }) =>
      async (ctx) => {
        if ((await ctx.state.get("told")) !== true) {
          await ctx.state.set("told", true);
          await ledger.effect("mail");
        }
      },
    faults: ["crash"],
  });
  expect(message).toContain("The first, crash after write told:");
  expect(message).toContain('"mail" happened never, and once without a fault.');
});

test("a handler that takes the end of its attempt for a failure is found when its lease is lost", async () => {
  const { faults, message } = await failureOf({
    agent:
      ({ ledger }) =>
      async (ctx) => {
        try {
          return await ctx.step("charge", (step) =>
            ledger.effect("charge", { key: step.idempotencyKey, result: 1 }),
          );
        } catch {
          await ledger.effect("refund");
          return 0;
        }
      },
  });
  expect(faults).toContainEqual(["overlap before record charge"]);
  expect(faults.flat().every((fault) => fault.startsWith("overlap"))).toBe(true);
  expect(message).toContain('"refund" happened once, and never without a fault.');
});

test("another end than the expected one is fine where it is accepted, a second effect never", async () => {
  const risky = (onInterrupt: "fail" | "retry"): Exploration => ({
    agent:
      ({ ledger }) =>
      (ctx) =>
        ctx.step("charge", () => ledger.effect("charge"), { onInterrupt }),
    faults: ["crash"],
  });
  const accept: Exploration["accept"] = ({ outcome }) => outcome.status === "FAILED";
  expect((await failureOf(risky("fail"))).faults).toContainEqual(["crash after begin charge"]);
  await explore({ ...risky("fail"), accept });
  const { message } = await failureOf({ ...risky("retry"), accept: () => true });
  expect(message).toContain('"charge" happened 2 times');
});

test("what a test of its own does not like is told as well", async () => {
  const { faults, message } = await failureOf({
    agent: () => (ctx) => ctx.step("one", () => 1),
    check: (story) => {
      if (story.events.some(({ type }) => type === "intent.lost")) throw new Error("I like no losses");
    },
    faults: ["crash", "lose reply"],
  });
  expect(message).toContain("I like no losses");
  expect(faults.flat().every((fault) => fault.startsWith("crash"))).toBe(true);
});

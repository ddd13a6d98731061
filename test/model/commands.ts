// What a run may do, as fast-check commands: each picks from what there is when its turn comes, and prints what it did.

import fc from "fast-check";
import type { CreateBody, Doubt, Model, Op } from "./model.ts";
import type { System } from "./system.ts";

/** fast-check wants a model of its own to check commands against; ours lives in the system. */
type Nothing = Record<string, never>;
export type Command = fc.AsyncCommand<Nothing, System>;

interface Pick {
  readonly which: number;
  /** How far from the current attempt: mostly the right one. */
  readonly off: number;
  readonly key: string;
  readonly flag: boolean;
  readonly other: boolean;
}

const pick: fc.Arbitrary<Pick> = fc.record({
  which: fc.nat(20),
  off: fc.constantFrom(0, 0, 0, 0, 0, 0, -1, -2, 1),
  key: fc.constantFrom("s1", "s1", "s2", "s2", "s3", "w1", "w2"),
  flag: fc.boolean(),
  other: fc.boolean(),
});

const KINDS = [
  "start",
  "running",
  "running",
  "done",
  "done",
  "done",
  "failed",
  "complete",
  "fail",
  "release",
  "cancel",
  "pause",
  "unpause",
  "unpause",
  "retry",
  "retry",
  "decide",
  "decide",
] as const;

/** Null when there is nothing yet to act on. */
function resolveOp(kind: (typeof KINDS)[number], picked: Pick, model: Model): Op | null {
  if (model.intents.length === 0) return null;
  const i = picked.which % model.intents.length;
  const attempt = Math.max(0, (model.intents[i]?.attempt ?? 0) + picked.off);
  const { key, flag, other } = picked;
  switch (kind) {
    case "start":
      return { op: kind, i, attempt, beginNext: flag };
    case "running":
      return { op: kind, i, attempt, key };
    case "done":
      return { op: kind, i, attempt, key, beginNext: flag, result: other ? 1 : { n: 2 } };
    case "failed":
      return { op: kind, i, attempt, key, retryable: flag };
    case "complete":
      return { op: kind, i, attempt, result: flag ? "a" : "b" };
    case "fail":
      return { op: kind, i, attempt, retryable: flag };
    case "release":
      return { op: kind, i, attempt, notRun: flag ? [key] : [] };
    case "decide":
      return { op: kind, i, key, answer: flag ? "done" : other ? "retry" : "fail" };
    default:
      return { op: kind, i };
  }
}

const body: fc.Arbitrary<CreateBody> = fc.record({
  address: fc.constantFrom("a", "a", "b"),
  steps: fc.nat(3),
  priority: fc.constantFrom(0, 0, 1),
  maxDeliveries: fc.constantFrom(1, 2, 3),
  onInterrupt: fc.constantFrom<Doubt>("retry", "retry", "ask", "fail"),
  maxRetries: fc.constantFrom(0, 1),
  ttlMs: fc.constantFrom(null, null, 9_000),
  delayMs: fc.constantFrom(null, null, 3_000),
  attemptTimeoutMs: fc.constantFrom(null, null, 5_000),
});

class Doing implements Command {
  readonly #name: string;
  readonly #plan: (system: System) => readonly Op[] | { passTime: number };
  #did = "";

  constructor(name: string, plan: (system: System) => readonly Op[] | { passTime: number }) {
    this.#name = name;
    this.#plan = plan;
  }

  check(): boolean {
    return true;
  }

  async run(_: Nothing, system: System): Promise<void> {
    const plan = this.#plan(system);
    this.#did = JSON.stringify(plan);
    if ("passTime" in plan) await system.passTime(plan.passTime);
    else if (plan.length > 0) await system.run(plan);
  }

  toString(): string {
    return `\n  ${this.#name} ${this.#did}`;
  }
}

const creating = fc
  .record({ body, key: fc.nat(30) })
  .map(({ body, key }) => new Doing("create", () => [{ op: "create", body, key: `k${key}`, id: "" }]));

/** The same key again, with the same body or another one. */
const repeating = fc.record({ which: fc.nat(20), body, same: fc.boolean() }).map(
  ({ which, body, same }) =>
    new Doing("create again", ({ model }) => {
      const known = model.keys[which % Math.max(1, model.keys.length)];
      if (known === undefined) return [];
      const first = JSON.parse(known.body) as CreateBody;
      const address = first.address.slice(-1);
      return [
        {
          op: "create",
          key: known.key,
          id: "",
          body: same ? { ...first, address } : { ...body, priority: 9 },
        },
      ];
    }),
);

const acting = fc
  .record({ kind: fc.constantFrom(...KINDS), picked: pick })
  .map(({ kind, picked }) => new Doing("act", ({ model }) => listOf(resolveOp(kind, picked, model))));

/** Two or three at the same time, mostly on one intent. */
const bursting = fc
  .record({
    ops: fc.array(fc.record({ kind: fc.constantFrom(...KINDS), picked: pick }), {
      minLength: 2,
      maxLength: 3,
    }),
    together: fc.boolean(),
    creates: fc.option(body, { nil: undefined, freq: 3 }),
    key: fc.nat(1_000),
  })
  .map(
    ({ ops, together, creates, key }) =>
      new Doing("at once", ({ model }) => [
        ...ops.flatMap(({ kind, picked }) => {
          const which = together ? (ops[0]?.picked.which ?? 0) : picked.which;
          return listOf(resolveOp(kind, { ...picked, which }, model));
        }),
        ...(creates === undefined ? [] : [{ op: "create" as const, body: creates, key: `b${key}`, id: "" }]),
      ]),
  );

const listOf = <T>(value: T | null): T[] => (value === null ? [] : [value]);

const connecting = fc.record({ which: fc.nat(20), restart: fc.boolean() }).map(
  ({ which, restart }) =>
    new Doing("connect", ({ model }) => {
      const closed = model.consumers
        .map((consumer, c) => ({ consumer, c }))
        .filter((one) => !one.consumer.open);
      const chosen = closed[which % Math.max(1, closed.length)];
      return chosen === undefined ? [] : [{ op: "connect", c: chosen.c, restart }];
    }),
);

const cutting = fc.nat(20).map(
  (which) =>
    new Doing("cut", ({ model }) => {
      const open = model.consumers.map((consumer, c) => ({ consumer, c })).filter((one) => one.consumer.open);
      const chosen = open[which % Math.max(1, open.length)];
      return chosen === undefined ? [] : [{ op: "cut", c: chosen.c }];
    }),
);

const waiting = fc
  .constantFrom(100, 1_000, 2_500, 6_000)
  .map((ms) => new Doing("time passes", () => ({ passTime: ms })));

export const anyCommand: fc.Arbitrary<Command>[] = [
  creating,
  creating,
  creating,
  repeating,
  acting,
  acting,
  acting,
  acting,
  acting,
  acting,
  acting,
  acting,
  bursting,
  bursting,
  connecting,
  connecting,
  cutting,
  waiting,
  waiting,
];

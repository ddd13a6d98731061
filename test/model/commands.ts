// What a run may do, as fast-check commands: each picks from what there is when its turn comes, and prints what it did.

import fc from "fast-check";
import {
  aimedAt,
  body,
  born,
  childOf,
  KINDS,
  type Kind,
  OPERATE,
  pick,
  REMEMBER,
  resolveOp,
  versioned,
  WAIT,
  WORK,
} from "./asking.ts";
import type { CreateBody, Op } from "./shapes.ts";
import type { System } from "./system.ts";

/** fast-check wants a model of its own to check commands against; ours lives in the system. */
type Nothing = Record<string, never>;
export type Command = fc.AsyncCommand<Nothing, System>;

/** What a run begins with. */
export const beginning = (): fc.Arbitrary<CreateBody[]> => fc.array(body, { minLength: 1, maxLength: 4 });

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
  .map(({ body, key }) => new Doing("create", () => [born(body, `k${key}`)]));

const bearing = fc
  .record({ body, picked: pick })
  .map(({ body, picked }) => new Doing("create a child", ({ model }) => childOf(model, picked, body)));

/** The same key again, with the same body or another one. */
const repeating = fc.record({ which: fc.nat(20), body, same: fc.boolean() }).map(
  ({ which, body, same }) =>
    new Doing("create again", ({ model }) => {
      const known = model.keys[which % Math.max(1, model.keys.length)];
      if (known === undefined) return [];
      const first = JSON.parse(known.body) as CreateBody;
      const address = first.address.slice(-1);
      return [born(same ? { ...first, address } : { ...body, priority: 9 }, known.key)];
    }),
);

const sharing = pick.map(
  (picked) =>
    new Doing("share", ({ model }) => {
      const writes = versioned(picked, model, null);
      return writes.length === 0 ? [] : [{ op: "share", writes }];
    }),
);

const actingOn = (kinds: readonly Kind[]) =>
  fc
    .record({ kind: fc.constantFrom(...kinds), picked: pick })
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
    child: fc.option(fc.record({ body, picked: pick }), { nil: undefined, freq: 3 }),
    key: fc.nat(1_000),
  })
  .map(
    ({ ops, together, creates, child, key }) =>
      new Doing("at once", ({ model }) => {
        const first = ops[0];
        const at = together && first !== undefined ? aimedAt(first.kind, first.picked, model) : undefined;
        return [
          ...ops.flatMap(({ kind, picked }) => listOf(resolveOp(kind, picked, model, at))),
          ...(creates === undefined ? [] : [born(creates, `b${key}`)]),
          ...(child === undefined ? [] : childOf(model, child.picked, child.body, at)),
        ];
      }),
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

const times = (n: number, command: fc.Arbitrary<Command>): fc.Arbitrary<Command>[] =>
  Array.from({ length: n }, () => command);

export const anyCommand: fc.Arbitrary<Command>[] = [
  ...times(3, creating),
  ...times(2, bearing),
  repeating,
  sharing,
  ...times(5, actingOn(WORK)),
  ...times(2, actingOn(OPERATE)),
  ...times(4, actingOn(WAIT)),
  ...times(3, actingOn(REMEMBER)),
  ...times(3, bursting),
  ...times(3, connecting),
  cutting,
  ...times(2, waiting),
];

// What may be asked, picked at random and aimed at what there is when its turn comes.

import fc from "fast-check";
import { childrenOf } from "./kin.ts";
import { isOver } from "./queue.ts";
import type { Asked, CreateBody, Doubt, Model, ModelIntent, Op, StateWrite, WaitAsked } from "./shapes.ts";
import { parkedWait } from "./waits.ts";

export interface Pick {
  readonly which: number;
  /** How far from the current attempt: mostly the right one. */
  readonly off: number;
  readonly key: string;
  readonly flag: boolean;
  readonly other: boolean;
  readonly n: number;
  readonly writes: readonly StateWrite[];
  readonly versions: readonly number[];
}

const writes: fc.Arbitrary<StateWrite[]> = fc.array(
  fc.record({
    scope: fc.constantFrom<StateWrite["scope"]>("own", "own", "shared"),
    key: fc.constantFrom("k", "k", "m"),
    value: fc.constantFrom({ is: 1 }, { is: { n: 2 } }, { is: null }, null),
    ifVersion: fc.constantFrom(null, null, null, 0, 1),
  }),
  { minLength: 1, maxLength: 2 },
);

export const pick: fc.Arbitrary<Pick> = fc.record({
  which: fc.nat(20),
  off: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -2, 1),
  key: fc.constantFrom("s1", "s1", "s2", "s2", "s3", "w1", "w2"),
  flag: fc.boolean(),
  other: fc.boolean(),
  n: fc.nat(1_000),
  writes,
  versions: fc.array(fc.nat(3), { minLength: 2, maxLength: 2 }),
});

export const WORK = [
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
] as const;
export const OPERATE = [
  "cancel",
  "pause",
  "unpause",
  "unpause",
  "retry",
  "retry",
  "decide",
  "decide",
] as const;
export const WAIT = [
  "wait",
  "wait",
  "wait",
  "wait",
  "signal",
  "signal",
  "signal",
  "answer",
  "answer",
] as const;
export const REMEMBER = [
  "write",
  "write",
  "checkpoint",
  "checkpoint",
  "forget",
  "restore",
  "restore",
  "restore",
] as const;
export const KINDS = [...WORK, ...OPERATE, ...WAIT, ...REMEMBER] as const;
export type Kind = (typeof KINDS)[number];

/** Null when there is nothing yet to act on. */
export function resolveOp(kind: Kind, picked: Pick, model: Model, at?: ModelIntent): Asked | null {
  const intent = at ?? aimedAt(kind, picked, model);
  if (intent === undefined) return null;
  const i = model.intents.indexOf(intent);
  return askedOf(kind, picked, model, intent, i);
}

/** Mostly one that the operation makes sense for. */
export function aimedAt(kind: Kind, { which, n }: Pick, model: Model): ModelIntent | undefined {
  const among = n % 6 === 0 ? model.intents : model.intents.filter((intent) => isApt(kind, intent));
  return among[which % Math.max(1, among.length)];
}

function isApt(kind: Kind, intent: ModelIntent): boolean {
  switch (kind) {
    case "retry":
      return isOver(intent);
    case "unpause":
      return intent.paused;
    case "decide":
      return intent.steps.some((step) => step.status === "interrupted");
    case "signal":
      return parkedWait(intent)?.wait?.kind === "signal";
    case "answer":
      return intent.steps.some((step) => step.wait?.kind === "human");
    case "forget":
      return intent.checkpoints.length > 0;
    case "restore":
      return intent.log.length > 3;
    case "cancel":
    case "pause":
    case "write":
    case "checkpoint":
      return !isOver(intent);
    default:
      return intent.holder !== null;
  }
}

function askedOf(kind: Kind, picked: Pick, model: Model, intent: ModelIntent, i: number): Asked {
  const attempt = Math.max(0, intent.attempt + picked.off);
  const { key, flag, other, n } = picked;
  switch (kind) {
    case "start":
      return { op: kind, i, attempt, beginNext: flag };
    case "running":
      return { op: kind, i, attempt, key };
    case "done": {
      const state = n % 3 === 0 ? versioned(picked, model, intent) : [];
      return { op: kind, i, attempt, key, beginNext: flag, result: other ? 1 : { n: 2 }, state };
    }
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
    case "wait":
      return { op: kind, i, attempt, key, wait: waitOf(picked, model, intent) };
    case "signal":
      return { op: kind, i, name: signalFor(picked, intent), data: n % 4 === 0 ? null : n };
    case "answer":
      return {
        op: kind,
        i,
        key: n % 3 === 0 ? key : null,
        answer: {
          outcome: n % 7 === 0 ? "perhaps" : flag ? "yes" : "no",
          comment: other ? "fine" : null,
        },
      };
    case "write":
      return { op: kind, i, attempt: other ? attempt : null, writes: versioned(picked, model, intent) };
    case "checkpoint":
      return { op: kind, i, attempt: other ? attempt : null, name: flag ? "here" : "there" };
    case "forget":
      return { op: kind, i, name: flag ? "here" : "there" };
    case "restore":
      return { op: kind, i, to: placeOf(picked, intent) };
    default:
      return { op: kind, i };
  }
}

/** Mostly the one that is waited for. */
function signalFor({ n, flag }: Pick, intent: ModelIntent): string {
  const wait = parkedWait(intent)?.wait;
  if (wait?.kind === "signal" && n % 3 > 0) return wait.name;
  return flag ? "go" : "tick";
}

function placeOf({ n, flag, other }: Pick, intent: ModelIntent): string | number {
  const names = intent.checkpoints.map((one) => one.name);
  if (names.length > 0 && n % 2 === 0) return names[n % names.length] as string;
  if (n % 13 === 0) return flag ? "here" : "there";
  // Also an entry that is not there yet.
  const length = intent.log.length + Number(other && n % 5 === 0);
  return n % (length + 1);
}

/** Mostly the version that is there. */
export function versioned(
  { writes: picked, versions }: Pick,
  model: Model,
  intent: ModelIntent | null,
): StateWrite[] {
  return picked
    .filter(({ scope }) => intent !== null || scope === "shared")
    .map((write, n) => {
      const state = write.scope === "shared" || intent === null ? model.shared : intent.state;
      const head = state[write.key];
      const current = head === undefined || head.deleted ? 0 : head.version;
      return (versions[n] ?? 0) === 1 ? { ...write, ifVersion: current } : write;
    });
}

function waitOf({ n, flag, other }: Pick, model: Model, intent: ModelIntent): WaitAsked {
  const timeoutMs = other ? 3_000 : null;
  const children = childrenOf(model, intent).map((child) => model.intents.indexOf(child));
  if (children.length > 0 && n % 3 > 0)
    return { kind: "children", of: flag ? children : children.slice(-1), timeoutMs };
  switch (n % 8) {
    case 0:
      return { kind: "time", ms: 0 };
    case 1:
      return { kind: "time", ms: flag ? 2_000 : 7_000 };
    case 2:
    case 3:
      return { kind: "human", timeoutMs };
    case 4:
      // Perhaps nobody's child.
      return { kind: "children", of: [0], timeoutMs };
    default:
      return { kind: "signal", name: flag ? "go" : "tick", timeoutMs };
  }
}

export const born = (one: CreateBody, key: string, parentAttempt: number | null = null): Op => ({
  op: "create",
  body: one,
  parentAttempt,
  key,
  id: "",
});

/** A child: sent from a step of its parent's holder, or beside it. */
export function childOf(model: Model, picked: Pick, one: CreateBody, at?: ModelIntent): Op[] {
  const { off, n, key, flag, other } = picked;
  const parent = at ?? aimedAt("wait", picked, model);
  if (parent === undefined) return [];
  const of = model.intents.indexOf(parent);
  const attempt = flag ? Math.max(0, parent.attempt + off) : null;
  const link = { of, step: other ? key : null, detached: n % 5 === 0 };
  return [born({ ...one, parent: link }, `c${n}`, attempt)];
}

export const body: fc.Arbitrary<CreateBody> = fc
  .record({
    address: fc.constantFrom("a", "a", "b"),
    steps: fc.nat(3),
    priority: fc.constantFrom(0, 0, 1),
    maxDeliveries: fc.constantFrom(1, 2, 3),
    onInterrupt: fc.constantFrom<Doubt>("retry", "retry", "ask", "fail"),
    maxRetries: fc.constantFrom(0, 1),
    ttlMs: fc.constantFrom(null, null, null, 9_000),
    delayMs: fc.constantFrom(null, null, null, 3_000),
    attemptTimeoutMs: fc.constantFrom(null, null, null, 5_000),
    humanTask: fc.constantFrom(false, false, false, false, false, false, true),
    parent: fc.constant(null),
  })
  .map((one) => (one.humanTask ? { ...one, steps: 0 } : one));

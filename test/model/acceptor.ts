// Is what was seen possible? Operations that ran at the same time, and what the server did by itself meanwhile, are tried
// in every order that the logs allow. Answers the model after one that explains everything, or the best try.

import {
  apply,
  isDue,
  type LogEntry,
  type Model,
  type ModelIntent,
  type Op,
  owed,
  queueOf,
  type Verdict,
} from "./model.ts";

/** What the server shows of one intent. */
export interface Seen {
  readonly id: string;
  readonly log: readonly (LogEntry & { readonly consumer: string | null })[];
  readonly status: string;
  readonly attempt: number;
  readonly strikes: number;
  readonly paused: boolean;
  readonly waiting: boolean;
  readonly availableAt: number | null;
  readonly steps: readonly { key: string; status: string; tries: number; doubt: boolean; result: unknown }[];
}

export interface Told {
  readonly op: Op;
  readonly verdict: Verdict;
}

export interface Explanation {
  readonly model: Model | null;
  /** How far the longest try came, for whoever has to find out why there is none. */
  readonly best: string;
}

/** With `inOrder`, deliveries come from the head of the queue; operations at the same time may hide it for a moment. */
export function explain(
  before: Model,
  told: readonly Told[],
  seen: ReadonlyMap<string, Seen>,
  inOrder: boolean,
): Explanation {
  let best = { length: -1, text: "nothing" };
  const visited = new Set<string>();

  function search(model: Model, left: readonly Told[], path: readonly string[]): Model | null {
    const state = JSON.stringify([model, left.length, left.map((one) => one.op)]);
    if (visited.has(state)) return null;
    visited.add(state);
    const problem = firstDifference(model, left, seen);
    if (problem === null) return model;
    if (path.length > best.length)
      best = { length: path.length, text: `${path.join(" → ") || "nothing"}; then: ${problem}` };
    for (const next of choices(model, left, seen, inOrder)) {
      const copy = structuredClone(model);
      const verdict = apply(copy, next.op);
      if (verdict !== next.verdict || !isPrefix(copy, seen)) {
        if (path.length + 1 > best.length && verdict !== next.verdict)
          best = {
            length: path.length + 1,
            text: `${[...path, describe(next.op)].join(" → ")}: the model says ${verdict}, the server ${next.verdict}`,
          };
        continue;
      }
      const rest = left.filter((one) => one !== next.from);
      const found = search(copy, rest, [...path, describe(next.op)]);
      if (found !== null) return found;
    }
    return null;
  }

  return { model: search(before, told, []), best: best.text };
}

interface Choice extends Told {
  readonly from: Told | null;
}

function choices(
  model: Model,
  left: readonly Told[],
  seen: ReadonlyMap<string, Seen>,
  inOrder: boolean,
): Choice[] {
  const own: Choice[] = [];
  model.intents.forEach((intent, i) => {
    const next = seen.get(intent.id)?.log[intent.log.length];
    const isHead = queueOf(model, intent.address)[0] === intent;
    if (next?.type === "delivered" && next.consumer !== null && (isHead || !inOrder))
      own.push({ op: { op: "deliver", i, consumer: next.consumer }, verdict: "ok", from: null });
    if (isDue(model, intent)) own.push({ op: { op: "due", i }, verdict: "ok", from: null });
  });
  model.consumers.forEach((consumer, c) => {
    if (!consumer.open && consumer.leaseUntil !== null && consumer.leaseUntil <= model.now)
      own.push({ op: { op: "expire", c }, verdict: "ok", from: null });
  });
  return [...left.map((one) => ({ ...one, from: one })), ...own];
}

const describe = (op: Op): string => JSON.stringify(op);

function isPrefix(model: Model, seen: ReadonlyMap<string, Seen>): boolean {
  return model.intents.every((intent) => {
    const log = seen.get(intent.id)?.log ?? [];
    if (intent.log.length > log.length) return false;
    return intent.log.every((entry, n) => sameEntry(entry, log[n]));
  });
}

const sameEntry = (a: LogEntry, b: LogEntry | undefined): boolean =>
  b !== undefined && a.type === b.type && a.status === b.status && a.attempt === b.attempt;

/** Null when the model is where the server is, with nothing left to happen. */
function firstDifference(
  model: Model,
  left: readonly Told[],
  seen: ReadonlyMap<string, Seen>,
): string | null {
  if (left.length > 0) return `not yet told: ${describe((left[0] as Told).op)}`;
  for (const intent of model.intents) {
    const shown = seen.get(intent.id);
    if (shown === undefined) return `intent ${intent.id} is missing`;
    const difference = compare(intent, shown);
    if (difference !== null) return `intent ${intent.id}: ${difference}`;
    if (isDue(model, intent)) return `intent ${intent.id} is due and nothing happens`;
  }
  const waiting = owed(model)[0];
  return waiting === undefined ? null : `intent ${waiting.id} waits although somebody is free`;
}

function compare(intent: ModelIntent, shown: Seen): string | null {
  const expected = intent.log.map((entry) => `${entry.type}/${entry.status}/${entry.attempt}`);
  const logged = shown.log.map((entry) => `${entry.type}/${entry.status}/${entry.attempt}`);
  if (JSON.stringify(expected) !== JSON.stringify(logged))
    return `the log should be ${expected.slice(-6).join(" ")}, but ends ${logged.slice(-6).join(" ")}`;
  const own = {
    status: intent.status,
    attempt: intent.attempt,
    strikes: intent.strikes,
    paused: intent.paused,
    waiting: intent.status === "WAITING",
  };
  for (const [name, value] of Object.entries(own))
    if (shown[name as keyof typeof own] !== value)
      return `${name} should be ${value}, but is ${String(shown[name as keyof typeof own])}`;
  return compareDelay(intent, shown.availableAt) ?? compareSteps(intent, shown);
}

function compareDelay(intent: ModelIntent, shown: number | null): string | null {
  const { chosenDelay, availableAt } = intent;
  if (chosenDelay !== null && shown !== null && shown >= chosenDelay.least && shown <= chosenDelay.most)
    return null;
  return availableAt === shown ? null : `it should be away until ${availableAt}, but is until ${shown}`;
}

function compareSteps(intent: ModelIntent, shown: Seen): string | null {
  const text = (
    steps: readonly { key: string; status: string; tries: number; doubt: boolean; result: unknown }[],
  ) =>
    steps
      .map(
        ({ key, status, tries, doubt, result }) =>
          `${key}:${status}:${tries}:${doubt}:${status === "done" ? JSON.stringify(result) : ""}`,
      )
      .sort()
      .join(" ");
  return text(intent.steps) === text(shown.steps)
    ? null
    : `the steps should be ${text(intent.steps)}, but are ${text(shown.steps)}`;
}

/** Takes over what was the server's to choose. */
export function adoptChoices(model: Model, seen: ReadonlyMap<string, Seen>): void {
  for (const intent of model.intents) {
    if (intent.chosenDelay !== null)
      intent.availableAt = seen.get(intent.id)?.availableAt ?? intent.availableAt;
    intent.chosenDelay = null;
  }
}

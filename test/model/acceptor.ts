// Is what was seen possible? Operations that ran at the same time, and what the server did by itself meanwhile, are tried
// in every order that the logs allow. Answers the model after one that explains everything, or the best try.

import { compare, entriesText } from "./compare.ts";
import { isOwedNews } from "./family.ts";
import { childrenOf } from "./kin.ts";
import { apply, digestOf, fork } from "./model.ts";
import { isDue } from "./operators.ts";
import { isOver, owed, queueOf } from "./queue.ts";
import type { LogEntry, Model, ModelIntent, Op, Verdict } from "./shapes.ts";
import type { Sight } from "./sight.ts";

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
export function explain(before: Model, told: readonly Told[], sight: Sight, inOrder: boolean): Explanation {
  let best = { length: -1, text: "nothing" };
  const visited = new Set<string>();

  function search(model: Model, left: readonly Told[], path: readonly string[]): Model | null {
    const state = `${digestOf(model)} ${JSON.stringify(left.map((one) => one.op))}`;
    if (visited.has(state)) return null;
    visited.add(state);
    const problem = firstDifference(model, left, sight);
    if (problem === null) return model;
    if (path.length > best.length)
      best = { length: path.length, text: `${path.join(" → ") || "nothing"}; then: ${problem}` };
    for (const next of choices(
      model,
      left,
      sight,
      inOrder ? (intent) => isHead(before, model, intent) : () => true,
    )) {
      const copy = fork(model);
      const verdict = apply(copy, next.op);
      const wrong =
        verdict === next.verdict
          ? offTheLog(copy, sight)
          : `the model says ${verdict}, the server ${next.verdict}`;
      if (wrong !== null) {
        if (path.length + 1 > best.length)
          best = {
            length: path.length + 1,
            text: `${[...path, describe(next.op)].join(" → ")}: ${wrong}`,
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
  sight: Sight,
  mayBeNext: (intent: ModelIntent) => boolean,
): Choice[] {
  const own: Op[] = [];
  model.intents.forEach((intent, i) => {
    const next = sight.intents.get(intent.id)?.log[intent.log.length];
    if (next?.type === "delivered" && next.consumer !== null && mayBeNext(intent))
      own.push({ op: "deliver", i, consumer: next.consumer });
    if (isDue(model, intent)) own.push({ op: "due", i });
    if (isOwedNews(model, intent)) own.push({ op: "told", i });
    if (intent.doomed) own.push({ op: "doomed", i });
  });
  model.consumers.forEach((consumer, c) => {
    if (!consumer.open && consumer.leaseUntil !== null && consumer.leaseUntil <= model.now)
      own.push({ op: "expire", c });
  });
  return [
    ...left.map((one) => ({ ...one, from: one })),
    ...own.map((op) => ({ op, verdict: "ok", from: null })),
  ];
}

/** Next in its queue, but for those that the server itself has in hand at this moment. */
const isHead = (before: Model, model: Model, intent: ModelIntent): boolean =>
  queueOf(model, intent.address).find(
    (one) => one === intent || !(one.doomed || isBeingTold(before, model, one)),
  ) === intent;

/** A child of it has ended just now: while that is told, its row is locked, and claims take the next one. */
const isBeingTold = (before: Model, model: Model, parent: ModelIntent): boolean =>
  childrenOf(model, parent).some((child) => {
    const known = before.intents[model.intents.indexOf(child)];
    return isOver(child) && (known === undefined || !isOver(known));
  });

const describe = (op: Op): string => JSON.stringify(op);

/** Null while each of the model's logs is the beginning of what the server shows. */
function offTheLog(model: Model, sight: Sight): string | null {
  for (const intent of model.intents) {
    const log = sight.intents.get(intent.id)?.log ?? [];
    const n = intent.log.findIndex((entry, at) => !sameEntry(entry, log[at]));
    if (n >= 0)
      return `entry ${n + 1} of ${intent.id} should be ${JSON.stringify(intent.log[n])}, but is ${JSON.stringify(log[n])}`;
  }
  return null;
}

const sameEntry = (a: LogEntry, b: LogEntry | undefined): boolean =>
  b !== undefined &&
  a.type === b.type &&
  a.status === b.status &&
  a.attempt === b.attempt &&
  a.note === b.note;

/** Null when the model is where the server is, with nothing left to happen. */
function firstDifference(model: Model, left: readonly Told[], sight: Sight): string | null {
  if (left.length > 0) return `not yet told: ${describe((left[0] as Told).op)}`;
  for (const intent of model.intents) {
    const shown = sight.intents.get(intent.id);
    if (shown === undefined) return `intent ${intent.id} is missing`;
    const difference = compare(model, intent, shown);
    if (difference !== null) return `intent ${intent.id}: ${difference}`;
    if (isDue(model, intent)) return `intent ${intent.id} is due and nothing happens`;
    if (isOwedNews(model, intent)) return `intent ${intent.id} is not told of its children`;
    if (intent.doomed) return `intent ${intent.id} lives on without its parent`;
  }
  const shared = entriesText(model.shared);
  if (shared !== sight.shared) return `the session's state should be ${shared}, but is ${sight.shared}`;
  const waiting = owed(model)[0];
  return waiting === undefined ? null : `intent ${waiting.id} waits although somebody is free`;
}

/** Takes over what was the server's to choose. */
export function adoptChoices(model: Model, sight: Sight): void {
  for (const intent of model.intents) {
    if (intent.chosenDelay !== null)
      intent.availableAt = sight.intents.get(intent.id)?.availableAt ?? intent.availableAt;
    intent.chosenDelay = null;
  }
}

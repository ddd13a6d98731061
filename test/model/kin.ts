// Who is whose child, how children ended, and which of them are to end.

import { isOver } from "./queue.ts";
import type { Model, ModelIntent } from "./shapes.ts";

export const childrenOf = (model: Model, parent: ModelIntent): ModelIntent[] => {
  const of = model.intents.indexOf(parent);
  return model.intents.filter((intent) => intent.parent?.of === of);
};

export function doomChildren(model: Model, parent: ModelIntent): void {
  for (const child of childrenOf(model, parent))
    if (child.parent?.detached === false && !isOver(child)) child.doomed = true;
}

/** Children of superseded steps end, too (S6). */
export function doomChildrenOf(model: Model, parent: ModelIntent, steps: readonly string[]): void {
  for (const child of childrenOf(model, parent)) {
    const step = child.parent?.step ?? null;
    if (step !== null && steps.includes(step) && !isOver(child)) child.doomed = true;
  }
}

/** How all of them ended; undefined while one of them lives. */
export function endsOf(model: Model, children: readonly number[]): unknown[] | undefined {
  const ends = children.map((n) => model.intents[n] as ModelIntent);
  if (ends.some((child) => !isOver(child))) return undefined;
  return ends.map(({ id, status, result, error }) => ({
    intent_id: id,
    status,
    ...(status === "COMPLETED" ? { result } : { error }),
  }));
}

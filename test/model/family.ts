// What the server does by itself between parents and children (W3): a child's end is told to a parent that waits for it, and a
// parent's end takes its children along.

import { end } from "./attempts.ts";
import { endsOf } from "./kin.ts";
import { isOver } from "./queue.ts";
import type { Model, ModelIntent, Verdict } from "./shapes.ts";
import { parkedWait, wake } from "./waits.ts";

export function cancelForParent(model: Model, intent: ModelIntent): Verdict {
  if (!intent.doomed) return "nothing";
  intent.doomed = false;
  if (!isOver(intent)) end(model, intent, { status: "CANCELED", error: "canceled" });
  return "ok";
}

/** What the parent waits for is there, and only has to be told. */
export function isOwedNews(model: Model, parent: ModelIntent): boolean {
  const wait = parkedWait(parent)?.wait;
  return wait?.kind === "children" && endsOf(model, wait.of) !== undefined;
}

export function tellParent(model: Model, parent: ModelIntent): Verdict {
  const step = parkedWait(parent);
  if (step?.wait?.kind !== "children") return "nothing";
  const ends = endsOf(model, step.wait.of);
  if (ends === undefined) return "nothing";
  wake(model, parent, step, ends);
  return "ok";
}

// Parents and children: what the end of one owes to the other is in the outbox, written with that end, and is worked off here
// in commits of its own (W3). Repeating an entry changes nothing, so that it may be lost only by being done.

import { failureOfEnds } from "../domain/decide/conduct.ts";
import { cancel } from "../domain/decide/resolve.ts";
import { failWait, wake } from "../domain/decide/waits.ts";
import { type Draft, editStep } from "../domain/draft.ts";
import { SERVER } from "../domain/intent.ts";
import { isTerminal } from "../domain/lifecycle.ts";
import type { RawJson } from "../domain/raw-json.ts";
import { waitingSteps } from "../domain/wait.ts";
import { awaitedIntents, type OutboxEntry, orphans, readOutbox } from "../store/queries/family.ts";
import { ENDS_MAX_BYTES, type Workspace } from "../store/workspace.ts";
import { change, type Engine } from "./context.ts";
import { endsOf } from "./waits.ts";

const CHILDREN_AT_ONCE = 100;

/** Works off the oldest entries; answers how many there were. */
export async function settleOutbox(engine: Engine, limit: number): Promise<number> {
  const entries = await readOutbox(engine.store, limit);
  await Promise.all(entries.map((entry) => settle(engine, entry)));
  return entries.length;
}

function settle(engine: Engine, entry: OutboxEntry): Promise<void> {
  switch (entry.kind) {
    case "child_end":
      return tellParent(engine, entry);
    case "cascade":
      return cancelChildren(engine, entry);
    case "cancel":
      return cancelOne(engine, entry.childId ?? "", "the step it was sent from was superseded", entry.id);
  }
}

/** Wakes the parent if it was the last child it waited for. */
async function tellParent(engine: Engine, { id, parentId }: OutboxEntry): Promise<void> {
  while (!(await tellAwaited(engine, id, parentId, await awaitedIntents(engine.store, parentId)))) {
    // Each time another wait has begun, by which it is known the next time.
  }
}

/**
 * What the parent waits for is read before its lock. A wait that was committed in between may have looked at the child before its end: false,
 * and the entry stays, as long as the parent waits for somebody whose end was not looked at here.
 */
function tellAwaited(
  engine: Engine,
  entry: number,
  parentId: string,
  awaited: readonly string[],
): Promise<boolean> {
  const lookedAt = new Set(awaited);
  return engine.commits.submit<boolean>({
    name: "child_end",
    intents: [parentId],
    steps: [{ intentId: parentId, keys: [], undone: 1 }],
    ends: awaited,
    bytes: ENDS_MAX_BYTES,
    decide(work) {
      const waits = childWaits(work, parentId);
      if (waits.some(({ ids }) => ids.some((child) => !lookedAt.has(child)))) return false;
      if (waits.length > 0) change(work, parentId, SERVER, (draft) => endWaits(work, draft, waits));
      work.workedOff.push(entry);
      return true;
    },
  });
}

interface ChildWait {
  readonly key: string;
  readonly ids: readonly string[];
}

/** The steps on which the intent is parked for children. */
function childWaits(work: Workspace, intentId: string): ChildWait[] {
  const known = work.peek(intentId);
  if (known === undefined) return [];
  return waitingSteps(known.intent, known.steps).flatMap(({ key, wait }) =>
    wait.kind === "intents" ? [{ key, ids: wait.ids }] : [],
  );
}

/** Ends those of which all children have ended. */
function endWaits(work: Workspace, draft: Draft, waits: readonly ChildWait[]): void {
  for (const { key, ids } of waits) {
    if (ids.some((child) => work.endOf(child) === undefined)) continue;
    const ends = endsOf(work, draft.intent, ids);
    if (ends !== undefined) endWait(draft, key, ends);
  }
}

/** A handler looks at each end itself; of an intent that the server leads, the step fails with its child. */
function endWait(draft: Draft, key: string, ends: RawJson): void {
  const error = draft.intent.conducted ? failureOfEnds(ends) : null;
  if (error === null) wake(draft, key, { result: ends });
  else failWait(draft, editStep(draft, key), error);
}

/** A canceled or timed out parent takes its children with it, but for detached ones. */
async function cancelChildren(engine: Engine, { id, parentId }: OutboxEntry): Promise<void> {
  const children = await orphans(engine.store, parentId, CHILDREN_AT_ONCE);
  const last = children.length < CHILDREN_AT_ONCE;
  await Promise.all(children.map((child) => cancelOne(engine, child, "its parent has ended", null)));
  if (last)
    await engine.commits.submit({
      name: "cascade",
      intents: [],
      decide: (work) => void work.workedOff.push(id),
    });
}

function cancelOne(engine: Engine, childId: string, reason: string, entry: number | null): Promise<void> {
  return engine.commits.submit({
    name: "cancel_child",
    intents: [childId],
    steps: [{ intentId: childId, keys: [], undone: 50 }],
    decide(work) {
      const known = work.peek(childId)?.intent;
      if (known !== undefined && !isTerminal(known.status))
        change(work, childId, SERVER, (draft) => cancel(draft, reason));
      if (entry !== null) work.workedOff.push(entry);
    },
  });
}

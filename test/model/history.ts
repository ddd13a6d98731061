// The past: names for places of the log, and going back to one (S6). The log itself is only ever added to.

import { isOpen } from "./attempts.ts";
import { doomChildrenOf } from "./kin.ts";
import { log, pastOf } from "./log.ts";
import { reopen } from "./operators.ts";
import { isOver } from "./queue.ts";
import type { Asked, Model, ModelIntent, ModelStep, StateWrite, Verdict } from "./shapes.ts";
import { decideWrites } from "./state.ts";
import { doneCount } from "./steps.ts";
import { assignAgain } from "./waits.ts";

/** Its holder keeps the first place of a name, an operator moves it. */
export function nameCheckpoint(
  intent: ModelIntent,
  { name, attempt }: Extract<Asked, { op: "checkpoint" }>,
): Verdict {
  if (attempt !== null && !isOpen(intent, attempt)) return "stale_attempt";
  const known = intent.checkpoints.find((one) => one.name === name);
  if (attempt !== null && known !== undefined && known.generation === intent.generation)
    return `ok ${known.seq} ${known.stepsDone} again`;
  log(intent, "checkpoint_named", name);
  const seq = intent.log.length;
  const stepsDone = doneCount(intent);
  intent.checkpoints = intent.checkpoints.filter((one) => one !== known);
  intent.checkpoints.push({ name, seq, stepsDone, generation: intent.generation });
  return `ok ${seq} ${stepsDone}`;
}

export function forget(intent: ModelIntent, name: string): Verdict {
  if (!intent.checkpoints.some((one) => one.name === name)) return "checkpoint_not_found";
  intent.checkpoints = intent.checkpoints.filter((one) => one.name !== name);
  return "ok";
}

export function seqOf(intent: ModelIntent, to: string | number): number | undefined {
  return typeof to === "number" ? to : intent.checkpoints.find((one) => one.name === to)?.seq;
}

/** As if the agent had crashed right after that entry: done steps stay, begun ones run again, later ones are superseded. */
export function restore(model: Model, intent: ModelIntent, to: string | number): Verdict {
  const seq = seqOf(intent, to);
  if (seq === undefined) return "checkpoint_not_found";
  if (seq > intent.log.length) return "validation_failed";
  const past = pastOf(intent, seq);
  const wasOver = isOver(intent);
  reopen(model, intent);
  if (wasOver) intent.queueAt = model.now;
  const answer: Record<List, string[]> = { kept: [], again: [], superseded: [], none: [] };
  for (const step of intent.steps) {
    const then = past.steps.find((one) => one.key === step.key);
    const later = step.worked !== (then?.worked ?? 0) || step.generation !== (then?.generation ?? 0);
    const list = listFor(step, then, later);
    if (then === undefined) supersede(step);
    else rewind(intent, step, then, later);
    answer[list].push(step.key);
  }
  intent.plan = past.plan;
  log(intent, "restored", String(seq));
  for (const signal of intent.signals)
    signal.takenBy = intent.steps.find((step) => step.signal === signal.no)?.key ?? null;
  doomChildrenOf(model, intent, answer.superseded);
  assignAgain(model, intent);
  restoreState(model, intent, past.state);
  const lists = [answer.kept, answer.again, answer.superseded].map((keys) => keys.sort().join());
  return `ok ${seq} ${lists.join(" ")}`;
}

type List = "kept" | "again" | "superseded" | "none";

/** What is told of a step: done by then, begun by then, begun only later. */
function listFor(now: ModelStep, then: Readonly<ModelStep> | undefined, later: boolean): List {
  if (then?.status === "done") return "kept";
  if (then?.status === "running" || then?.status === "interrupted") return "again";
  if (then?.status === "failed" || then?.status === "waiting") return "again";
  return later && now.ran > 0 ? "superseded" : "none";
}

function supersede(step: ModelStep): void {
  step.status = "superseded";
  step.declared = false;
  step.doubt = false;
  step.result = null;
  step.signal = null;
}

function rewind(intent: ModelIntent, step: ModelStep, then: Readonly<ModelStep>, later: boolean): void {
  const { worked } = step;
  Object.assign(step, then, { worked });
  switch (then.status) {
    case "running":
      step.status = "interrupted";
      step.doubt = true;
      break;
    case "waiting":
    case "failed":
      step.status = "planned";
      step.final = false;
      break;
    case "planned":
      if (later) {
        step.generation = intent.generation;
        step.ran = 0;
      }
      break;
    default:
  }
}

/** What is as it was needs no new version; what came later is deleted. */
function restoreState(model: Model, intent: ModelIntent, past: ModelIntent["state"]): void {
  const writes = Object.keys(intent.state)
    .sort()
    .flatMap((key): StateWrite[] => {
      const now = heldIn(intent.state, key);
      const then = heldIn(past, key);
      if (JSON.stringify(now) === JSON.stringify(then)) return [];
      return [{ scope: "own", key, value: then, ifVersion: null }];
    });
  const writing = decideWrites(model, intent, writes);
  if (typeof writing !== "string") writing();
}

function heldIn(state: ModelIntent["state"], key: string): { is: unknown } | null {
  const entry = state[key];
  return entry === undefined || entry.deleted ? null : { is: entry.value };
}

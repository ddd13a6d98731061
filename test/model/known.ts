// Cases that a run leaves out, each because the server is known to differ there from the documents.

import type { Asked, Model, ModelIntent, ModelStep, Op, StepStatus } from "./shapes.ts";

export function isAvoided(model: Model, op: Asked): boolean {
  const intent = model.intents[op.i];
  if (intent === undefined) return false;
  return op.op === "wait" && isAnotherWait(intent, op);
}

function isAnotherWait(intent: ModelIntent, { key, wait }: Extract<Asked, { op: "wait" }>): boolean {
  const step = intent.steps.find((one) => one.key === key);
  const first = step?.wait ?? null;
  if (first === null) return step !== undefined && step.status !== "superseded" && step.generation > 0;
  if (first.kind !== "signal" && first.kind !== "children") return false;
  if (first.kind === "signal") return wait.kind !== "signal" || wait.name !== first.name;
  return wait.kind !== "children" || String(wait.of) !== String(first.of);
}

export const isListed = ({ status }: ModelStep): boolean => status !== "superseded";

export const isKeyAvoided = (step: string): boolean => step === "human_task";

export const isWaitAvoided = (status: StepStatus): boolean => status !== "waiting";

export function withoutAvoided(ops: readonly Op[]): Op[] {
  const isBeside = (kind: "restore" | "cancel", i: number) => ops.some((op) => op.op === kind && op.i === i);
  return ops.filter((op) => {
    if (op.op === "wait") {
      const begun = ops.some((one) => one.op === "running" && one.i === op.i && one.key === op.key);
      return !begun && !isBeside("restore", op.i);
    }
    if (op.op === "retry") return !isBeside("cancel", op.i);
    const writes = op.op === "write" || (op.op === "done" && op.state.length > 0);
    return !writes || !isBeside("restore", op.i);
  });
}

export const isFinalAvoided = (doubt: boolean): boolean => doubt;

// Cases that a run leaves out, each because the server is known to differ there from the documents.

import type { Asked, Model, ModelStep, Op, StepStatus } from "./shapes.ts";

export function isAvoided(model: Model, op: Asked): boolean {
  const intent = model.intents[op.i];
  if (intent === undefined) return false;
  return false;
}

export const isListed = ({ status }: ModelStep): boolean => status !== "superseded" && status !== "planned";

/** Should be "again". */
export const listOfUnfinished = (now: ModelStep): "superseded" | "none" =>
  isListed(now) ? "superseded" : "none";

export const isTryCounted = (status: StepStatus): boolean => status !== "superseded";

export const isKeyAvoided = (step: string): boolean => step === "human_task";

export const isWaitAvoided = (status: StepStatus): boolean => status === "done" || status === "superseded";

export function withoutAvoided(ops: readonly Op[]): Op[] {
  const isBeside = (kind: "restore" | "pause", i: number) => ops.some((op) => op.op === kind && op.i === i);
  return ops.filter((op) => {
    if (op.op === "wait") return !isBeside("pause", op.i);
    const writes = op.op === "write" || (op.op === "done" && op.state.length > 0);
    return !writes || !isBeside("restore", op.i);
  });
}

export const isFinalAvoided = (doubt: boolean): boolean => doubt;

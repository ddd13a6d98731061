// Cases that a run leaves out, each because the server is known to differ there from the documents.

import type { Asked, Model, ModelStep, StepStatus } from "./shapes.ts";

export function isAvoided(model: Model, op: Asked): boolean {
  const intent = model.intents[op.i];
  if (intent === undefined) return false;
  return op.op === "restore" && intent.deliverAt !== null;
}

export const isListed = ({ status }: ModelStep): boolean => status !== "superseded" && status !== "planned";

/** Should be "again". */
export const listOfUnfinished = (now: ModelStep): "superseded" | "none" =>
  isListed(now) ? "superseded" : "none";

export const isTryCounted = (status: StepStatus): boolean => status !== "superseded";

export const isKeyAvoided = (step: string): boolean => step === "human_task";

export const isWaitAvoided = (status: StepStatus): boolean => status === "done" || status === "superseded";

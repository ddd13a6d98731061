// Cases that a run leaves out, each because the server is known to differ there from the documents.

import type { Op } from "./shapes.ts";

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

// The shapes of requests about streams of outcomes. Values only; no use case, no database.

import { z } from "zod";
import type { Limits } from "../limits.ts";
import { pieces } from "./pieces.ts";

const MARK_MAX = 2_147_483_647;

export function outcomeSchemas(limits: Limits) {
  const { uuid } = pieces(limits);
  return {
    params: z.object({ watcher: z.string().min(1).max(limits.nameMax) }),
    watch: z.object({
      intent_ids: z.array(uuid).max(limits.batchMax),
      mark: z.int().min(0).max(MARK_MAX).default(0),
      forget: z.array(uuid).max(limits.batchMax).default([]),
    }),
  };
}
export type OutcomeSchemas = ReturnType<typeof outcomeSchemas>;

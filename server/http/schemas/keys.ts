// The shapes of requests about API keys and the audit log.

import { z } from "zod";
import { VERBS } from "../../domain/access.ts";
import type { Limits } from "../limits.ts";
import { pieces, SECONDS_MAX } from "./pieces.ts";

const PATTERNS_MAX = 50;
const DAY_SECONDS = 86_400;

export function keySchemas(limits: Limits) {
  const { name, address, limit } = pieces(limits);
  const cursor = z.string().max(1_000).optional();
  const id = z.guid({ error: "must be a key id (a UUID)" }).transform((text) => text.toLowerCase());
  return {
    params: z.object({ id }),
    create: z.object({
      name,
      address,
      scopes: z.array(z.enum(VERBS)).min(1).max(20),
      patterns: z.array(address).max(PATTERNS_MAX).default([]),
      expires_in_seconds: z.number().min(1).max(SECONDS_MAX).nullish(),
    }),
    rotate: z.object({ grace_seconds: z.number().min(0).max(SECONDS_MAX).default(DAY_SECONDS) }),
    page: z.object({ limit: limit.default(50), cursor }),
  };
}

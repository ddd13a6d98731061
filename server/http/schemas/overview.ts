// The shapes of what is asked about many intents at once: counts, how the last while went, consumers, and the feed.

import { z } from "zod";
import { EVENT_TYPES } from "../../domain/event.ts";
import { STATUSES } from "../../domain/lifecycle.ts";
import { withFieldPrefix } from "../fields.ts";
import type { Limits } from "../limits.ts";
import { pieces } from "./pieces.ts";

const INTERVAL_MAX_MS = 60_000;
const WINDOW_MAX_SECONDS = 30 * 86_400;
const WINDOW_SECONDS = 3_600;
const FOLLOWED_MAX = 100;

export function overviewSchemas(limits: Limits) {
  const { name, key, text, address, instant, uuid, limit } = pieces(limits);
  const words = <T extends z.ZodType<unknown, string>>(element: T, max: number) =>
    z
      .string()
      .max(limits.textMax * 2)
      .transform((list) => list.split(",").map((one) => one.trim()))
      .pipe(z.array(element).min(1).max(max));
  const metadata = text.refine((value) => !value.includes("\0"), { error: "must not contain NUL" });
  const cursor = z.string().max(1_000).optional();
  return {
    counts: withFieldPrefix(
      z
        .object({
          to_agent: address.optional(),
          intent_type: name.optional(),
          session: name.optional(),
          parent_intent_id: uuid.optional(),
          code: key.optional(),
          created_from: instant.optional(),
          created_to: instant.optional(),
        })
        .catchall(metadata),
      "metadata.",
    ),
    overview: z.object({
      to_agent: address.optional(),
      window_seconds: z.coerce.number().int().min(60).max(WINDOW_MAX_SECONDS).default(WINDOW_SECONDS),
      buckets: z.coerce.number().int().min(1).max(240).default(60),
    }),
    consumers: z.object({ address: address.optional(), limit: limit.default(100), cursor }),
    feed: withFieldPrefix(
      z
        .object({
          status: words(z.enum(STATUSES), STATUSES.length).optional(),
          event_type: words(z.enum(EVENT_TYPES), EVENT_TYPES.length).optional(),
          to_agent: address.optional(),
          intent_type: name.optional(),
          intent_id: words(uuid, FOLLOWED_MAX).optional(),
          parent_intent_id: uuid.optional(),
          session: name.optional(),
          since: z.string().max(100).optional(),
          interval_ms: z.coerce.number().int().min(0).max(INTERVAL_MAX_MS).default(0),
        })
        .catchall(metadata),
      "metadata.",
    ),
  };
}
export type OverviewSchemas = ReturnType<typeof overviewSchemas>;

// The shapes of state requests.

import { z } from "zod";
import { RawJson } from "../../domain/raw-json.ts";
import { STATE_KINDS } from "../../domain/state.ts";
import type { Limits } from "../limits.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is refused
const PRINTABLE = /^[^\u0000-\u001f\u007f]+$/;

export function stateSchemas(limits: Limits) {
  const key = z
    .string()
    .min(1)
    .max(limits.keyMax)
    .regex(PRINTABLE, { error: "must not contain control characters or line ends" });
  const scope = z.string().min(1).max(1_100);
  const version = z.coerce.number().int().min(0).max(2_147_483_647);
  const attempt = z.int().min(0).max(2_147_483_647);
  const limit = z.coerce.number().int().min(1).max(limits.pageMax).default(50);
  const cursor = z.string().max(4_000).optional();
  const value = z
    .unknown()
    .refine(
      (given) => !(given instanceof RawJson) || Buffer.byteLength(given.text) <= limits.resultMaxBytes,
      {
        error: `value is larger than ${limits.resultMaxBytes} bytes`,
      },
    )
    .transform((given): RawJson | undefined =>
      given === undefined ? undefined : given instanceof RawJson ? given : RawJson.of(given),
    );
  const behalf = {
    intent_id: z
      .guid({ error: "must be an intent id (a UUID)" })
      .transform((id) => id.toLowerCase())
      .nullish(),
    attempt: attempt.nullish(),
  };
  const change = {
    value: value.optional(),
    delete: z.literal(true).optional(),
    if_version: z.int().min(0).max(2_147_483_647).nullish(),
  };
  const oneOf = { error: "give value, or delete: true" };
  const exclusive = (write: { value?: unknown; delete?: true | undefined }) =>
    (write.value !== undefined) !== (write.delete === true);
  return {
    scopeParams: z.object({ scope }),
    entryParams: z.object({ scope, key }),
    put: z.object({ value, if_version: change.if_version, ...behalf }),
    remove: z.object({ if_version: change.if_version, ...behalf }),
    commit: z.object({
      writes: z
        .array(z.object({ scope, key, ...change }).refine(exclusive, oneOf))
        .min(1)
        .max(limits.batchMax),
      ...behalf,
    }),
    /** Beside a step: without a scope it is the intent's own. */
    ofStep: z
      .array(z.object({ scope: scope.optional(), key, ...change }).refine(exclusive, oneOf))
      .max(limits.batchMax),
    read: z.object({ version: version.optional(), seq: version.optional() }),
    list: z.object({
      prefix: z.string().max(limits.keyMax).default(""),
      limit,
      cursor,
      order: z.enum(["asc", "desc"]).default("asc"),
      values: z.stringbool().default(true),
      seq: version.optional(),
    }),
    versions: z.object({ limit, cursor }),
    scopes: z.object({ kind: z.enum(STATE_KINDS).optional(), limit, cursor }),
  };
}
export type StateSchemas = ReturnType<typeof stateSchemas>;

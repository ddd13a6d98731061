// What request shapes are made of: names, keys, times, members kept as they were written.

import { z } from "zod";
import { RawJson } from "../../domain/raw-json.ts";
import type { Limits } from "../limits.ts";

const YEAR_SECONDS = 31_622_400;
export const SECONDS_MAX = 10 * YEAR_SECONDS;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is refused
const PRINTABLE = /^[^\u0000-\u001f\u007f]+$/;
const INT4_MAX = 2_147_483_647;

/** The years that ISO 8601, PostgreSQL and JavaScript write alike, less a day for time zones. */
const LAST_INSTANT = Date.parse("9999-12-30T00:00:00Z");

/** A member that stays as its sender wrote it. */
export const raw = (maxBytes: number, what: string) =>
  z
    .unknown()
    .refine(
      (value) =>
        value === undefined ||
        value === null ||
        !(value instanceof RawJson) ||
        Buffer.byteLength(value.text) <= maxBytes,
      {
        error: `${what} is larger than ${maxBytes} bytes`,
      },
    )
    .transform((value): RawJson => (value instanceof RawJson ? value : RawJson.of(value ?? null)));

export function pieces(limits: Limits) {
  const printable = (max: number) =>
    z
      .string()
      .min(1)
      .max(max)
      .regex(PRINTABLE, { error: "must not contain control characters or line ends" });
  return {
    name: printable(limits.nameMax),
    key: printable(limits.keyMax),
    text: z.string().max(limits.textMax),
    address: z
      .string()
      .min(1)
      .max(limits.nameMax * 4),
    attempt: z.int().min(0).max(INT4_MAX),
    seconds: z.number().positive().max(SECONDS_MAX),
    instant: z.iso
      .datetime({ offset: true, error: "must be an ISO 8601 time with a zone, such as 2026-01-31T12:00:00Z" })
      .transform((text) => Date.parse(text))
      .refine((ms) => ms >= 0 && ms <= LAST_INSTANT, { error: "must lie between the years 1970 and 9999" }),
    uuid: z.guid({ error: "must be an intent id (a UUID)" }).transform((id) => id.toLowerCase()),
    limit: z.coerce.number().int().min(1).max(limits.pageMax),
    seq: z.coerce.number().int().min(0).max(INT4_MAX),
  };
}

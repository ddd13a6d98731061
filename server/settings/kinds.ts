// Owns what a setting is, and the kinds there are: whole numbers, choices, texts, URLs. Must not know any one of them.
import { z } from "zod";

export interface Setting<T> {
  readonly env: string;
  readonly about: string;
  /** Completes the sentence "NAME must be …". */
  readonly allowed: string;
  /** As one would type it; undefined: not set unless given. */
  readonly fallback: string | undefined;
  readonly schema: z.ZodType<T, string>;
  readonly secret?: true;
}

export function integer(
  env: string,
  fallback: number,
  min: number,
  max: number,
  about: string,
): Setting<number> {
  const schema = z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number)
    .pipe(z.int().min(min).max(max));
  return { env, about, fallback: String(fallback), schema, allowed: `a whole number from ${min} to ${max}` };
}

export function choice<const T extends string>(
  env: string,
  fallback: T,
  values: readonly T[],
  about: string,
): Setting<T> {
  return { env, about, fallback, schema: z.enum(values), allowed: `one of ${values.join(", ")}` };
}

export function text(
  env: string,
  fallback: string | undefined,
  allowed: string,
  about: string,
): Setting<string> {
  return { env, about, fallback, allowed, schema: z.string().regex(/^[^\0]+$/) };
}

export function url(
  env: string,
  schemes: readonly string[],
  allowed: string,
  about: string,
): Setting<string> {
  const schema = z.string().refine((value) => schemes.includes(parseUrl(value)?.protocol ?? ""));
  return { env, about, fallback: undefined, allowed, schema };
}

export function parseUrl(value: string): URL | undefined {
  return URL.canParse(value) ? new URL(value) : undefined;
}

// Owns reading and writing durations and moments as people type and read them. Must not know what they are for.
import { UsageError } from "./exit-codes.ts";

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

export function looksLikeDuration(text: string): boolean {
  return PATTERN.test(text);
}

/** Milliseconds. A unit is required: a bare number means seconds to one program and milliseconds to another. */
export function parseDuration(text: string, what: string): number {
  const match = PATTERN.exec(text.trim());
  const unit = UNIT_MS[match?.[2] ?? ""];
  if (match === null || unit === undefined) {
    throw new UsageError(
      `${what}: ${JSON.stringify(text)} is not a duration; write a number and a unit, such as 250ms, 30s, 5m, 2h or 7d`,
    );
  }
  return Number(match[1]) * unit;
}

/** An ISO 8601 time, or a duration counted from `now` in the given direction. */
export function parseMoment(
  text: string,
  what: string,
  direction: "ahead" | "back",
  now: number = Date.now(),
): string {
  if (looksLikeDuration(text)) {
    const ms = parseDuration(text, what);
    return new Date(direction === "ahead" ? now + ms : now - ms).toISOString();
  }
  const at = /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) {
    throw new UsageError(
      `${what}: ${JSON.stringify(text)} is neither a duration (10m) nor a time (2030-01-31T08:00:00Z)`,
    );
  }
  return new Date(at).toISOString();
}

/** `0.4s`, `46s`, `12m`, `3.5h`, `12d`. */
export function describeDuration(ms: number): string {
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)}s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)}s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)}m`;
  if (ms < 172_800_000) return `${(ms / 3_600_000).toFixed(1)}h`;
  return `${Math.round(ms / 86_400_000)}d`;
}

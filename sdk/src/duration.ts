// Owns: reading durations as people type them. Must not: know what a duration is for.
import { PerdureError } from "./errors.ts";

/** A length of time: a bare number is milliseconds, a string carries its unit (`"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`). */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** The duration in milliseconds. Throws `validation_failed` for anything negative, not finite or without a known unit. */
export function toMs(duration: Duration): number {
  if (typeof duration === "number" && Number.isFinite(duration) && duration >= 0) return duration;
  const match = typeof duration === "string" ? PATTERN.exec(duration.trim()) : null;
  const unitMs = match?.[2] === undefined ? undefined : UNIT_MS[match[2]];
  if (match?.[1] === undefined || unitMs === undefined) {
    throw new PerdureError(
      "validation_failed",
      `${JSON.stringify(duration)} is not a duration: write milliseconds as a number, or a string like "30s" (ms, s, m, h, d)`,
    );
  }
  return Number(match[1]) * unitMs;
}

/** The duration in seconds, the unit of the wire. A fraction stays a fraction. */
export function toSeconds(duration: Duration): number {
  return toMs(duration) / 1_000;
}

/** A duration for people: `0.4 s`, `46 s`, `12 min`, `3.5 h`. */
export function describeMs(ms: number): string {
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}

// How the judge compares, and how it says what is wrong.

import type { Violation } from "../../server/verify/log-rules.ts";

export const violation = (invariant: string, intentId: string | null, message: string): Violation => ({
  invariant,
  intentId,
  message,
});

export const sameJson = (a: unknown, b: unknown): boolean =>
  JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

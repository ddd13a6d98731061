// Owns reading whole numbers as people type them. Must not know what they are for.
import { UsageError } from "./exit-codes.ts";

export function parseWhole(text: string, option: string, least: 0 | 1 = 0): number {
  if (!/^\d{1,15}$/.test(text) || Number(text) < least) {
    const bound = least === 0 ? "" : ` of ${least} or more`;
    throw new UsageError(`${option}: ${JSON.stringify(text)} is not a whole number${bound}`);
  }
  return Number(text);
}

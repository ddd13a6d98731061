// Owns: making a handler's value exactly what the server will give back. Must not: change what JSON can carry.
import { IntentFailure } from "./errors.ts";

/**
 * The value after a round trip through JSON, so that a first run sees what a replay will see (a Date is a string). `undefined` becomes null.
 * Throws IntentFailure `not_serializable` (not retryable) for what JSON cannot carry.
 */
export function toJson(value: unknown): unknown {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  try {
    const text = JSON.stringify(value);
    return text === undefined ? null : JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new IntentFailure(`the value cannot be written as JSON: ${why}`, {
      code: "not_serializable",
      retryable: false,
      cause,
    });
  }
}

// Owns: the wire form of `POST /v1/batch`: several calls as one text, and one answer for each. Must not: do I/O, or decide what goes along.
import { notOurs, refusalOf } from "./answer.ts";
import type { PerdureError } from "./errors.ts";

/** How a call is named inside a batch: its name, and the ids of its path as they are. */
export interface BatchName {
  op: "create" | "create_many" | "start" | "step" | "progress" | "release" | "resolve" | "consumer_heartbeat";
  intent_id?: string;
  key?: string;
  consumer_id?: string;
}

export interface BatchCall {
  name: BatchName;
  /** JSON text. */
  body: string | undefined;
  idempotencyKey: string | undefined;
}

/** Joined by hand: each body has been written as JSON once, for whichever way it goes. */
export function batchText(calls: readonly BatchCall[]): string {
  return `{"ops":[${calls.map(callText).join(",")}]}`;
}

function callText({ name, body, idempotencyKey }: BatchCall): string {
  const head = JSON.stringify(
    idempotencyKey === undefined ? name : { ...name, idempotency_key: idempotencyKey },
  );
  return body === undefined ? head : `${head.slice(0, -1)},"body":${body}}`;
}

export type BatchResult = { error?: undefined; body: unknown } | { error: PerdureError };

/** One result for each of `count` calls. Throws `bad_response` when the answer has another shape. */
export function batchResults(response: Response, answer: unknown, count: number): BatchResult[] {
  const results = (answer as { results?: unknown } | null)?.results;
  if (!Array.isArray(results) || results.length !== count)
    throw notOurs(response, "something else than a result for each call");
  const requestId = response.headers.get("x-request-id");
  return results.map(({ status, body, retry_after }) => {
    if (status >= 200 && status < 300) return { body };
    const retryAfter = typeof retry_after === "number" ? String(retry_after) : null;
    return { error: refusalOf(status, body, requestId, retryAfter) };
  });
}

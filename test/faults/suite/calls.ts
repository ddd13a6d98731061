// Requests that the SDK has no word for, repeated until somebody answers them, with the same key and body each time.
import { setTimeout as delay } from "node:timers/promises";
import type { Json } from "../../judge/history.ts";

export interface Answered {
  readonly status: number;
  readonly body: Json;
}

export interface CallOptions {
  readonly key?: string;
  readonly signal?: AbortSignal;
}

export type Call = (method: string, path: string, body?: Json, options?: CallOptions) => Promise<Answered>;

const TRY_MS = 3_000;
const PATIENCE_MS = 60_000;

/** `fetchIt` writes down what was asked and answered. */
export function openCalls(baseUrl: string, fetchIt: typeof fetch): Call {
  return async (method, path, body, { key, signal } = {}) => {
    const headers = {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(key === undefined ? {} : { "idempotency-key": key }),
    };
    for (const end = performance.now() + PATIENCE_MS; ; await delay(50 + Math.random() * 150)) {
      signal?.throwIfAborted();
      const patience = AbortSignal.timeout(TRY_MS);
      try {
        const response = await fetchIt(`${baseUrl}${path}`, {
          method,
          headers,
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: signal === undefined ? patience : AbortSignal.any([signal, patience]),
        });
        const answer = (await response.json()) as Json;
        if (response.status < 500 && response.status !== 429)
          return { status: response.status, body: answer };
      } catch (error) {
        if (performance.now() > end) throw error;
      }
    }
  };
}

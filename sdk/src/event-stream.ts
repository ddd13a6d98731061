// Owns: one connection to an event stream, from opening to its end, with a watch on silence. Must not: reconnect.
import { linkAbort } from "./abort.ts";
import { PerdureError } from "./errors.ts";
import type { Http, HttpRequest } from "./http.ts";
import { type SseMessage, SseParser } from "./sse.ts";

/** Two keep-alive intervals without a byte: the connection is half open and nobody will tell us. */
export const SILENCE_MS = 30_000;
const CONNECT_MS = 10_000;

export interface EventStreamRequest {
  path: string;
  query?: HttpRequest["query"];
  signal?: AbortSignal | undefined;
}

/**
 * The messages of one connection, until the server ends it. Throws PerdureError when it cannot be opened, breaks or falls silent, or the
 * signal's reason.
 */
export async function* readEventStream(
  http: Http,
  request: EventStreamRequest,
): AsyncGenerator<SseMessage, void, void> {
  const silent = () => new PerdureError("unreachable", `${http.baseUrl} fell silent`, { retryable: true });
  const scope = linkAbort([request.signal, http.closing], { ms: CONNECT_MS, reason: silent });
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  try {
    const body = await http.open(request.path, request.query, scope.signal);
    scope.touch(SILENCE_MS);
    reader = body.getReader();
    const decoder = new TextDecoder();
    const parser = new SseParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      scope.touch(SILENCE_MS);
      yield* parser.push(decoder.decode(value, { stream: true }));
      // The reader of these messages may have been slow: its time is not the server's silence.
      scope.touch(SILENCE_MS);
    }
  } catch (error) {
    throw http.asError(error, scope.signal);
  } finally {
    scope.release();
    // Frees the socket when the reader of these messages stopped early.
    scope.abort(new PerdureError("unreachable", "the stream was left"));
    await reader?.cancel().catch(() => undefined);
  }
}

// When an agent's stream is left for a new one, and when it is not.
import { expect, test } from "vitest";
import { Connection } from "../../sdk/src/connection.ts";
import type { Http } from "../../sdk/src/http.ts";
import { resolveLogger } from "../../sdk/src/logger.ts";

const frame = new TextEncoder().encode('event: stream.open\ndata: {"consumer_id":"c"}\n\n');

/** Streams are there when told so. */
function openWire() {
  const asked: { readonly signal: AbortSignal; answer(): void }[] = [];
  const http = {
    baseUrl: "http://server",
    closing: new AbortController().signal,
    asError: (error: unknown) => error,
    open: (_path: string, _query: unknown, signal: AbortSignal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        const answer = () =>
          resolve(
            new ReadableStream({
              start(controller) {
                controller.enqueue(frame);
                signal.addEventListener("abort", () => controller.error(signal.reason));
              },
            }),
          );
        asked.push({ signal, answer });
      }),
  } as unknown as Http;
  const frames: string[] = [];
  const connection = new Connection(http, resolveLogger(false), "/stream", {
    query: () => ({}),
    onFrame: (event) => frames.push(event),
  });
  return { asked, frames, connection, over: connection.run() };
}

test("an open stream is left for a new one, and one that is being opened is not", async () => {
  const { asked, frames, connection, over } = openWire();
  // A heartbeat of the stream before may be refused now.
  connection.reconnect();
  expect(asked[0]?.signal.aborted).toBe(false);
  asked[0]?.answer();
  await expect.poll(() => frames).toEqual(["stream.open"]);

  connection.reconnect();
  expect(asked[0]?.signal.aborted).toBe(true);
  await expect.poll(() => asked.length).toBe(2);
  connection.reconnect();
  expect(asked[1]?.signal.aborted).toBe(false);
  connection.stop();
  await over;
});

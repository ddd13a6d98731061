// A real server behind a simulation of the test kit: the same processes, faults and answers over HTTP, leases lost by taking names over.
import type { Delivery } from "../../sdk/src/deliveries.ts";
import { SseParser } from "../../sdk/src/sse.ts";
import type { Backend, Listener } from "../../sdk/src/testing/backend.ts";
import { call, type TestServer } from "../support/server.ts";

interface Stream {
  readonly consumer: string;
  readonly consumerId: string;
  readonly incarnation: string;
  readonly closing: AbortController;
}

const PATIENCE_MS = 60_000;
const AGAIN_MS = 20;

export function realBackend(server: TestServer): Backend {
  const streams = new Map<string, Stream>();
  /** Names whose holder has died: whoever takes one over ends what that held. */
  const orphaned = new Map<string, string>();
  const until = performance.now() + PATIENCE_MS;

  /** Resolves when the server has taken the consumer in; from then on frames come, over lost connections too. */
  async function open(listener: Listener, consumer: string): Promise<void> {
    const closing = new AbortController();
    const incarnation = crypto.randomUUID();
    const query = new URLSearchParams({ consumer, incarnation, capacity: "100", ack: "explicit" });
    const url = `${server.url}/v1/agents/${encodeURIComponent(listener.address)}/intents/stream?${query}`;
    const { signal } = closing;
    await new Promise<void>((resolve) => {
      void (async () => {
        while (!signal.aborted) {
          for await (const { event, data } of frames(url, signal)) {
            if (event === "intent.delivered") listener.onDelivery(data as unknown as Delivery);
            if (event !== "stream.open") continue;
            streams.set(listener.name, {
              consumer,
              incarnation,
              closing,
              consumerId: String(data.consumer_id),
            });
            resolve();
          }
          await new Promise((again) => setTimeout(again, AGAIN_MS));
        }
      })();
    });
  }

  return {
    baseUrl: server.url,
    fetch,
    now: () => Date.now(),
    after(ms, callback) {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
    async listen(listener) {
      const consumer = orphaned.get(listener.address) ?? listener.name;
      orphaned.delete(listener.address);
      await open(listener, consumer);
    },
    async leave({ name, address }, lost) {
      const stream = streams.get(name);
      if (stream === undefined) return;
      if (lost) {
        orphaned.set(address, stream.consumer);
        stream.closing.abort();
      } else {
        const { consumerId, incarnation } = stream;
        await call(server, "POST", `/v1/consumers/${consumerId}/heartbeat`, {
          incarnation,
          holding: [],
          capacity: 0,
        });
      }
    },
    act: async () => false,
    async elapse() {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return performance.now() < until;
    },
    async close() {
      for (const { closing } of streams.values()) closing.abort();
    },
  };
}

/** The frames of one connection; none when it is refused, as for a name whose last holder is not given up yet. */
async function* frames(
  url: string,
  signal: AbortSignal,
): AsyncGenerator<{ event: string; data: Record<string, unknown> }> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  try {
    const response = await fetch(url, { signal });
    if (!response.ok) return void (await response.body?.cancel());
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>)
      for (const { event, data } of parser.push(decoder.decode(chunk, { stream: true })))
        yield { event, data: JSON.parse(data) };
  } catch (error) {
    if (!signal.aborted && !(error instanceof TypeError)) throw error;
  }
}

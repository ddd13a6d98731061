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

const PATIENCE_MS = 20_000;

export function realBackend(server: TestServer): Backend {
  const streams = new Map<string, Stream>();
  /** Names whose holder has died: whoever takes one over ends what that held. */
  const orphaned = new Map<string, string>();
  const until = performance.now() + PATIENCE_MS;

  async function open({ name, address, onDelivery }: Listener, consumer: string): Promise<void> {
    const closing = new AbortController();
    const incarnation = crypto.randomUUID();
    const query = new URLSearchParams({ consumer, incarnation, capacity: "100", ack: "explicit" });
    const response = await fetch(
      `${server.url}/v1/agents/${encodeURIComponent(address)}/intents/stream?${query}`,
      {
        signal: closing.signal,
      },
    );
    if (response.status === 409) {
      await response.body?.cancel();
      await new Promise((resolve) => setTimeout(resolve, 20));
      return open({ name, address, onDelivery }, consumer);
    }
    const frames = readFrames(response);
    const first = (await frames.next()).value as { data: { consumer_id: string } };
    streams.set(name, { consumer, incarnation, closing, consumerId: first.data.consumer_id });
    void (async () => {
      for await (const { event, data } of frames)
        if (event === "intent.delivered") onDelivery(data as unknown as Delivery);
    })().catch((error) => {
      if (!closing.signal.aborted) throw error;
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

async function* readFrames(
  response: Response,
): AsyncGenerator<{ event: string; data: Record<string, unknown> }> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>)
    for (const { event, data } of parser.push(decoder.decode(chunk, { stream: true })))
      yield { event, data: JSON.parse(data) };
}

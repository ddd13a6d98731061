// What all stand-ins for AXME's agents share, written from what those clients do: they ask for a window again and again with the
// highest number they were shown, never acknowledge, and give up for good at an error of the connection or a bad status.

import { get, type IncomingMessage } from "node:http";
import { parseEvents, type SseEvent } from "./events.ts";

export interface Delivery {
  readonly intentId: string;
  readonly seq: number;
  readonly status: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the frame carried
  readonly data: any;
  /** By this process's clock. */
  readonly at: number;
}

export interface AgentOptions {
  readonly url: string;
  readonly address: string;
  readonly key?: string;
  readonly since?: number;
  readonly waitSeconds?: number;
  /** More of the query: `&status=DELIVERED`. */
  readonly more?: string;
  /** The work. A serial agent asks for its next window only behind it. */
  readonly work?: (delivery: Delivery) => Promise<unknown>;
  /** Asks for the next window while it works. */
  readonly buffers?: boolean;
}

export interface WindowAgent {
  readonly deliveries: readonly Delivery[];
  /** Windows that ended without work: the numbers that `stream.timeout` named. */
  readonly timeouts: readonly number[];
  readonly requests: number;
  /** Since when it is no more, and why; undefined while it lives. */
  readonly death: string | undefined;
  readonly since: number;
  /** As SIGKILL does. */
  kill(): void;
}

export type ReadBody = (response: IncomingMessage, see: (event: SseEvent) => void) => Promise<void>;

/** Reads a body as soon as its bytes come. */
export const asItComes: ReadBody = async (response, see) => {
  let text = "";
  for await (const piece of response.setEncoding("utf8")) {
    text += piece;
    const end = text.lastIndexOf("\n\n");
    if (end < 0) continue;
    for (const event of parseEvents(text.slice(0, end + 2))) see(event);
    text = text.slice(end + 2);
  }
};

/** Sees nothing of a body before its end. */
export const atItsEnd: ReadBody = async (response, see) => {
  let text = "";
  for await (const piece of response.setEncoding("utf8")) text += piece;
  for (const event of parseEvents(text)) see(event);
};

export function startAgent(options: AgentOptions, read: ReadBody): WindowAgent {
  const deliveries: Delivery[] = [];
  const timeouts: number[] = [];
  const killed = new AbortController();
  let since = options.since ?? 0;
  let requests = 0;
  let death: string | undefined;

  const see = async (event: SseEvent): Promise<void> => {
    if (event.name === "stream.timeout") timeouts.push(event.data.next_seq);
    if (!event.name.startsWith("intent.")) return;
    const { data } = event;
    if (data.seq <= since) throw new Error(`shown ${data.seq} after ${since}`);
    since = data.seq;
    const delivery = { intentId: data.intent_id, seq: data.seq, status: data.status, data, at: Date.now() };
    deliveries.push(delivery);
    const working = options.work?.(delivery);
    if (options.buffers !== true) await working;
  };

  const live = async (): Promise<never> => {
    for (;;) {
      requests += 1;
      const seen: SseEvent[] = [];
      await oneWindow(options, since, killed.signal, read, (event) => seen.push(event));
      for (const event of seen) await see(event);
      killed.signal.throwIfAborted();
    }
  };
  live().catch((error) => {
    death = killed.signal.aborted ? "killed" : String(error);
  });
  return {
    deliveries,
    timeouts,
    get requests() {
      return requests;
    },
    get death() {
      return death;
    },
    get since() {
      return since;
    },
    kill: () => killed.abort(new Error("killed")),
  };
}

function oneWindow(
  options: AgentOptions,
  since: number,
  signal: AbortSignal,
  read: ReadBody,
  see: (event: SseEvent) => void,
): Promise<void> {
  const { url, address, key, waitSeconds = 15, more = "" } = options;
  const headers = { accept: "text/event-stream", ...(key === undefined ? {} : { "x-api-key": key }) };
  const path = `/v1/agents/${address}/intents/stream?since=${since}&wait_seconds=${waitSeconds}${more}`;
  return new Promise((resolve, reject) => {
    const asking = get(`${url}${path}`, { headers, agent: false, signal }, (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        reject(new Error(`answered ${response.statusCode}`));
        return;
      }
      read(response, see).then(resolve, reject);
    });
    asking.on("error", reject);
  });
}

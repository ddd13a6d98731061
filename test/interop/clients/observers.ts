// `observe` in its three kinds. Streams: a window until it ends, then the rest of the log, then a pause, and again (TypeScript reads
// at the end, Python as it comes). Polling: the log again and again (Go, Java, .NET).

import { get } from "node:http";
import type { SseEvent } from "./events.ts";
import { asItComes, atItsEnd } from "./windows.ts";

const TERMINAL = ["intent.completed", "intent.failed", "intent.canceled", "intent.timed_out"];

export interface Seen {
  readonly seq: number;
  readonly type: string;
}

export interface Observer {
  readonly seen: readonly Seen[];
  readonly windows: number;
  readonly death: string | undefined;
  /** Resolves with the terminal event. */
  readonly done: Promise<Seen>;
  stop(): void;
}

export interface ObserverOptions {
  readonly url: string;
  readonly intentId: string;
  /** Which SDK it stands for. */
  readonly kind: "typescript" | "python" | "polling";
  readonly waitSeconds?: number;
  readonly pauseMs?: number;
}

// biome-ignore lint/suspicious/noExplicitAny: whatever the log holds
type Json = any;

export function startObserver(options: ObserverOptions): Observer {
  const { url, intentId, kind, waitSeconds = 10, pauseMs = 50 } = options;
  const seen: Seen[] = [];
  const stopped = new AbortController();
  let since = 0;
  let windows = 0;
  let death: string | undefined;
  const show = (seq: number, type: string): void => {
    if (seq <= since) return;
    since = seq;
    seen.push({ seq, type });
  };
  const window = (): Promise<void> =>
    readWindow(`${url}/v1/intents/${intentId}/events/stream?since=${since}&wait_seconds=${waitSeconds}`, {
      ...(kind === "typescript" ? { client: "axme-sdk-typescript/0.1.2" } : {}),
      signal: stopped.signal,
      see: (event) => {
        if (event.name.startsWith("intent.")) show(event.data.seq, event.data.event_type);
      },
    });
  const rest = async (): Promise<void> => {
    const response = await fetch(`${url}/v1/intents/${intentId}/events?since=${since}`);
    const { events } = (await response.json()) as Json;
    for (const event of events) show(event.seq, event.event_type);
  };
  const watch = async (): Promise<Seen> => {
    for (;;) {
      stopped.signal.throwIfAborted();
      windows += 1;
      if (kind !== "polling") await window();
      const last = seen.at(-1);
      if (last !== undefined && TERMINAL.includes(last.type)) return last;
      await rest();
      const now = seen.at(-1);
      if (now !== undefined && TERMINAL.includes(now.type)) return now;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  const done = watch();
  done.catch((error) => {
    death = String(error);
  });
  return {
    seen,
    done,
    get windows() {
      return windows;
    },
    get death() {
      return death;
    },
    stop: () => stopped.abort(),
  };
}

export interface WindowReading {
  /** `X-Axme-Client`. */
  readonly client?: string;
  readonly signal?: AbortSignal;
  readonly see: (event: SseEvent) => void;
}

/** Reads one window of events to its end. */
export function readWindow(url: string, { client, signal, see }: WindowReading): Promise<void> {
  const read = client === undefined ? asItComes : atItsEnd;
  const headers = client === undefined ? {} : { "x-axme-client": client };
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: false, ...(signal === undefined ? {} : { signal }) }, (response) => {
      if (response.statusCode === 200) read(response, see).then(resolve, reject);
      else reject(new Error(`answered ${response.statusCode}`));
    }).on("error", reject);
  });
}

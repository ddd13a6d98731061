// One stream for the whole page. What arrives is handed on in batches, so that a busy server costs few renderings. A gap, a restart or
// another key means: read again what is shown.

import { headersOf, keyChanges, refusedKey } from "./api.ts";
import { value } from "./store.ts";
import type { FeedFrame } from "./wire.ts";

export type Connection = "connecting" | "live" | "offline";
export const connection = value<Connection>("connecting");

export interface FeedListener {
  readonly onFrames: (frames: readonly FeedFrame[]) => void;
  /** Events may be missing: what is shown may be old. */
  readonly onReload: () => void;
}

const INTERVAL_MS = 250;
const BATCH_MS = 100;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 10_000;
/** Longer than the server is ever silent. */
const SILENCE_MS = 40_000;

const listeners = new Set<FeedListener>();
let cursor: string | null = null;
let waiting: FeedFrame[] = [];
let flushing: number | undefined;
let current: AbortController | undefined;

export function listen(listener: FeedListener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function flush(): void {
  flushing = undefined;
  const frames = waiting;
  waiting = [];
  for (const listener of [...listeners]) listener.onFrames(frames);
}

function reload(): void {
  waiting = [];
  for (const listener of [...listeners]) listener.onReload();
}

interface Frame {
  id: string | null;
  event: string;
  data: string;
}

function take({ id, event, data }: Frame): void {
  if (id !== null) cursor = id;
  if (event === "stream.gap") reload();
  if (!event.startsWith("intent.")) return;
  waiting.push(JSON.parse(data) as FeedFrame);
  if (flushing === undefined) flushing = window.setTimeout(flush, BATCH_MS);
}

/** Reads `text/event-stream` piece by piece: fetch, because an EventSource cannot carry a key. */
async function read(body: ReadableStream<Uint8Array>, onBytes: () => void): Promise<void> {
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader();
  let rest = "";
  let frame: Frame = { id: null, event: "message", data: "" };
  for (;;) {
    const { done, value: text } = await reader.read();
    if (done) return;
    onBytes();
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("id: ")) frame.id = line.slice(4);
      else if (line.startsWith("event: ")) frame.event = line.slice(7);
      else if (line.startsWith("data: ")) frame.data = line.slice(6);
      else if (line === "" && frame.data !== "") {
        take(frame);
        frame = { id: null, event: "message", data: "" };
      }
    }
  }
}

/** True when the stream was open, however it ended. */
async function connect(stop: AbortController): Promise<boolean> {
  const response = await fetch(`/v1/events/stream?interval_ms=${INTERVAL_MS}`, {
    headers: headersOf(cursor === null ? {} : { "last-event-id": cursor }),
    signal: stop.signal,
    cache: "no-store",
    credentials: "omit",
  });
  if (response.status === 401) refusedKey();
  if (!response.ok || response.body === null) return false;
  const first = cursor === null;
  const wasAway = connection.get() === "offline";
  connection.set("live");
  // What happened before the stream was open is not told by it; with a cursor the server says itself when something is missing.
  if (first || wasAway) reload();
  let silence = 0;
  const hear = () => {
    clearTimeout(silence);
    silence = window.setTimeout(() => stop.abort(), SILENCE_MS);
  };
  hear();
  try {
    await read(response.body, hear);
  } finally {
    clearTimeout(silence);
  }
  return true;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export async function startFeed(): Promise<never> {
  keyChanges.on(() => {
    cursor = null;
    current?.abort();
  });
  let delay = RETRY_MIN_MS;
  for (;;) {
    current = new AbortController();
    const worked = await connect(current).catch(() => connection.get() === "live");
    delay = worked ? RETRY_MIN_MS : Math.min(RETRY_MAX_MS, delay * 2);
    connection.set("offline");
    await pause(delay * (0.5 + Math.random() / 2));
  }
}

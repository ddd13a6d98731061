// Owns: following one intent's log without gap or repetition over lost connections. Must not: interpret the events.
import { pause } from "./abort.ts";
import { Backoff } from "./backoff.ts";
import { readEventStream } from "./event-stream.ts";
import { type Http, isWorthRepeating } from "./http.ts";
import { type IntentEvent, isTerminal, presentEvent } from "./intents.ts";
import type { Logger } from "./logger.ts";

export interface ObserveOptions {
  /** Begin after this `seq`; default 0, the beginning. */
  since?: number;
  /** Stop; the iteration ends quietly. */
  signal?: AbortSignal;
}

const TERMINAL_EVENTS: ReadonlySet<string> = new Set([
  "intent.completed",
  "intent.failed",
  "intent.canceled",
  "intent.timed_out",
]);

export async function* observeIntent(
  http: Http,
  logger: Logger,
  id: string,
  options: ObserveOptions = {},
): AsyncGenerator<IntentEvent, void, void> {
  const path = `/v1/intents/${encodeURIComponent(id)}`;
  const { signal } = options;
  const backoff = new Backoff();
  let cursor = options.since ?? 0;
  let ended = false;
  while (!signal?.aborted) {
    const before = cursor;
    try {
      for await (const message of readEventStream(http, {
        path: `${path}/events/stream`,
        query: { since: cursor },
        signal,
      })) {
        if (message.event === "stream.end") break;
        if (message.event === "stream.gap")
          logger.warn(`events of ${id} are gone (retention): ${message.data}`);
        if (!message.event.startsWith("intent.")) continue;
        const shown = presentEvent(JSON.parse(message.data));
        if (shown.seq <= cursor) continue;
        const event =
          shown.details?.result_omitted === true ? await fetchWhole(http, path, shown, signal) : shown;
        cursor = event.seq;
        // An operator's retry puts more events behind a terminal one: only a stream that ends after it is the end.
        ended = TERMINAL_EVENTS.has(event.type);
        yield event;
      }
      if (ended || (cursor === before && (await hasEnded(http, path, signal)))) return;
    } catch (error) {
      if (signal?.aborted) return;
      if (!isWorthRepeating(error)) throw error;
      if (ended) return;
    }
    if (cursor > before) backoff.reset();
    await pause(backoff.next(), signal).catch(() => undefined);
  }
}

/** A frame is small: an event with a large result only says so, and the log has all of it. */
async function fetchWhole(
  http: Http,
  path: string,
  shown: IntentEvent,
  signal: AbortSignal | undefined,
): Promise<IntentEvent> {
  const query = { since: shown.seq - 1, limit: 1 };
  const answer = await http.send({ method: "GET", path: `${path}/events`, query, retry: "forever", signal });
  const [whole] = answer.events;
  return whole?.seq === shown.seq ? presentEvent(whole) : shown;
}

/** A stream that ended without an event may have been rotated, or there is nothing more to come. */
async function hasEnded(http: Http, path: string, signal: AbortSignal | undefined): Promise<boolean> {
  const answer = await http.send({ method: "GET", path, retry: "forever", signal });
  return isTerminal(answer.intent.status);
}

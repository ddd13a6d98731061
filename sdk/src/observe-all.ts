// Owns: following the events of all intents a caller sees, over lost connections. Must not: interpret the events.
import { pause } from "./abort.ts";
import { Backoff } from "./backoff.ts";
import { readEventStream } from "./event-stream.ts";
import { type Http, isWorthRepeating } from "./http.ts";
import { type IntentEvent, presentEvent, type Status } from "./intents.ts";

/** Which events; all given conditions hold together. */
export interface FeedFilter {
  /** The status that the event left its intent in. */
  status?: Status[];
  /** An address, or a pattern that ends in a star. */
  toAgent?: string;
  intentType?: string;
  eventType?: string[];
  session?: string;
  parentIntentId?: string;
  metadata?: Record<string, string>;
}

/** An event, and whose. Its details are the small ones: a result is in the intent's own log. */
export interface FeedEvent extends IntentEvent {
  intentType: string;
  toAgent: string;
}

export interface ObserveAllOptions {
  /** Stop; the iteration ends quietly. */
  signal?: AbortSignal;
  /** Is told each time that the server listens to it: what happens from then on is seen. */
  onOpen?: () => void;
  /** Is told that events are missing here, and why: the server keeps the last ones in memory only. What must not be missed is in each log. */
  onGap?: (reason: string) => void;
}

export async function* observeAll(
  http: Http,
  filter: FeedFilter,
  { signal, onOpen, onGap }: ObserveAllOptions,
): AsyncGenerator<FeedEvent, void, void> {
  const query = feedQuery(filter);
  const backoff = new Backoff();
  let cursor: string | undefined;
  while (!signal?.aborted) {
    const before = cursor;
    try {
      for await (const message of readEventStream(http, {
        path: "/v1/events/stream",
        query: { ...query, since: cursor },
        signal,
      })) {
        if (message.id !== "") cursor = message.id;
        if (message.event === "stream.end") break;
        if (message.event === "stream.open") onOpen?.();
        if (message.event === "stream.gap") onGap?.(String(JSON.parse(message.data).reason));
        if (!message.event.startsWith("intent.")) continue;
        const wire = JSON.parse(message.data);
        yield {
          ...presentEvent(wire),
          intentType: wire.intent.intent_type,
          toAgent: wire.intent.address,
        };
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (!isWorthRepeating(error)) throw error;
    }
    if (cursor !== before) backoff.reset();
    await pause(backoff.next(), signal).catch(() => undefined);
  }
}

function feedQuery(filter: FeedFilter): Record<string, string | undefined> {
  const metadata = Object.entries(filter.metadata ?? {}).map(([key, value]) => [`metadata.${key}`, value]);
  return {
    status: filter.status?.join(","),
    to_agent: filter.toAgent,
    intent_type: filter.intentType,
    event_type: filter.eventType?.join(","),
    session: filter.session,
    parent_intent_id: filter.parentIntentId,
    ...Object.fromEntries(metadata),
  };
}

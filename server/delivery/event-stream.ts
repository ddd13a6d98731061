// Follows one intent's log from a cursor: no gap, no duplicate (I10). Reads the log; wake-ups only say when.

import type { Access } from "../domain/access.ts";
import type { IntentEvent } from "../domain/event.ts";
import { isTerminal } from "../domain/lifecycle.ts";
import { RawJson } from "../domain/raw-json.ts";
import type { Engine } from "../engine/context.ts";
import { findEnded, findSeenIntent, findStatus, type IntentRecord } from "../store/queries/intents.ts";
import { firstSeq, readEvents } from "../store/queries/log.ts";
import { eventView } from "../wire/views.ts";
import type { FrameStream } from "./frame-stream.ts";
import { nextWake, type Wakeups } from "./wakeups.ts";

const PAGE = 200;

export interface FollowOptions {
  readonly since: number;
  readonly pollMs: number;
  readonly signal: AbortSignal;
}

/** Sends events after `since` until the intent has ended and its last event is sent. */
export async function followIntent(
  engine: Engine,
  wakeups: Wakeups,
  intentId: string,
  frames: FrameStream,
  options: FollowOptions,
): Promise<void> {
  let cursor = options.since;
  const first = await firstSeq(engine.store.db, intentId);
  if (first !== undefined && cursor + 1 < first) {
    frames.send({ id: first - 1, event: "stream.gap", data: { from: cursor + 1, to: first - 1 } });
    cursor = first - 1;
  }
  while (frames.open && !options.signal.aborted) {
    // Subscribed before reading: a commit between the read and the wait still wakes us.
    let woken = false;
    const unsubscribe = wakeups.intents.on(intentId, () => {
      woken = true;
    });
    try {
      const status = await findStatus(engine.store.db, intentId);
      const events = await readEvents(engine.store, intentId, cursor, PAGE);
      for (const event of events) {
        if (!frames.send({ id: event.seq, event: event.type, data: frameOf(engine, event) })) return;
        cursor = event.seq;
        await frames.ready();
      }
      // A page may end early, by its bytes.
      if (events.length > 0 && status !== undefined && cursor < status.seq) continue;
      if (status === undefined || (isTerminal(status.status) && cursor >= status.seq)) {
        frames.send({ event: "stream.end", data: { reason: "terminal" } });
        return;
      }
    } finally {
      unsubscribe();
    }
    if (!woken)
      await nextWake((listener) => wakeups.intents.on(intentId, listener), options.pollMs, options.signal);
  }
}

/** An event for a frame: large details are left out, and fetched with the log. */
function frameOf(engine: Engine, event: IntentEvent) {
  const view = eventView(event);
  if (!(event.details instanceof RawJson) || event.details.text.length <= engine.settings.frameMaxBytes / 2)
    return view;
  if (Buffer.byteLength(event.details.text) <= engine.settings.frameMaxBytes - FRAME_MARGIN) return view;
  return { ...view, details: { ...smallMembers(event.details), result_omitted: true } };
}

/** What else an event's frame holds, besides its details. */
const FRAME_MARGIN = 1_024;
const SMALL = 1_000;

function smallMembers(details: RawJson): Record<string, unknown> {
  const members = Object.entries((details.parse() ?? {}) as Record<string, unknown>);
  return Object.fromEntries(
    members.filter(([, value]) => JSON.stringify(value).length <= SMALL).slice(0, 20),
  );
}

/** The intent once it has ended; when the time is up or the signal aborts, as it is then. Undefined: there is none. */
export async function waitForEnd(
  engine: Engine,
  wakeups: Wakeups,
  intentId: string,
  options: {
    readonly ms: number;
    readonly pollMs: number;
    readonly signal: AbortSignal;
    /** What whoever waits may see. */
    readonly access: Access;
  },
): Promise<IntentRecord | undefined> {
  const { ms, pollMs, signal, access } = options;
  const until = performance.now() + ms;
  while (!signal.aborted) {
    // Subscribed before reading: a commit between the read and the wait still wakes us.
    let woken = false;
    const unsubscribe = wakeups.intents.on(intentId, () => {
      woken = true;
    });
    try {
      const found = await findEnded(engine.store, intentId, access);
      if (found !== "live") return found;
    } finally {
      unsubscribe();
    }
    const left = until - performance.now();
    if (left <= 0) break;
    if (!woken)
      await nextWake((listener) => wakeups.intents.on(intentId, listener), Math.min(left, pollMs), signal);
  }
  return findSeenIntent(engine.store, intentId, access);
}

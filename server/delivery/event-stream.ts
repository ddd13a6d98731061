// Follows one intent's log from a cursor: no gap, no duplicate (I10). Reads the log; wake-ups only say when.

import { isTerminal } from "../domain/lifecycle.ts";
import type { Engine } from "../engine/context.ts";
import { findEnded, findIntent, findStatus, type IntentRecord } from "../store/queries/intents.ts";
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
      const events = await readEvents(engine.store.db, intentId, cursor, PAGE);
      for (const event of events) {
        if (!frames.send({ id: event.seq, event: event.type, data: eventView(event) })) return;
        cursor = event.seq;
      }
      if (events.length === PAGE) continue;
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

/** The intent once it has ended; when the time is up or the signal aborts, as it is then. Undefined: there is none. */
export async function waitForEnd(
  engine: Engine,
  wakeups: Wakeups,
  intentId: string,
  options: { readonly ms: number; readonly pollMs: number; readonly signal: AbortSignal },
): Promise<IntentRecord | undefined> {
  const { ms, pollMs, signal } = options;
  const until = performance.now() + ms;
  while (!signal.aborted) {
    // Subscribed before reading: a commit between the read and the wait still wakes us.
    let woken = false;
    const unsubscribe = wakeups.intents.on(intentId, () => {
      woken = true;
    });
    try {
      const found = await findEnded(engine.store, intentId);
      if (found !== "live") return found;
    } finally {
      unsubscribe();
    }
    const left = until - performance.now();
    if (left <= 0) break;
    if (!woken)
      await nextWake((listener) => wakeups.intents.on(intentId, listener), Math.min(left, pollMs), signal);
  }
  return findIntent(engine.store, intentId);
}

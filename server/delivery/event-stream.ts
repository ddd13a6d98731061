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

/** One reader's way through one log. */
class Following {
  readonly #engine: Engine;
  readonly #intentId: string;
  readonly #frames: FrameStream;
  /** The last event that was sent, or that was asked to be left out. */
  cursor: number;
  /** Events that were sent. */
  sent = 0;

  constructor(engine: Engine, intentId: string, frames: FrameStream, since: number) {
    this.#engine = engine;
    this.#intentId = intentId;
    this.#frames = frames;
    this.cursor = since;
  }

  /** What retention took away is announced, never passed over in silence. */
  async announceGap(): Promise<void> {
    const first = await firstSeq(this.#engine.store.db, this.#intentId);
    if (first === undefined || this.cursor + 1 >= first) return;
    const data = { from: this.cursor + 1, to: first - 1 };
    this.#frames.send({ id: first - 1, event: "stream.gap", data });
    this.cursor = first - 1;
  }

  /** Sends a page. `over`: there is nothing more, and nothing will come. */
  async sendPage(): Promise<"more" | "all" | "over" | "gone"> {
    const { store } = this.#engine;
    const status = await findStatus(store.db, this.#intentId);
    const events = await readEvents(store, this.#intentId, this.cursor, PAGE);
    for (const event of events) {
      const data = frameOf(this.#engine, event);
      if (!this.#frames.send({ id: event.seq, event: event.type, data })) return "gone";
      this.cursor = event.seq;
      this.sent += 1;
      await this.#frames.ready();
    }
    // A page may end early, by its bytes.
    if (events.length > 0 && status !== undefined && this.cursor < status.seq) return "more";
    return status === undefined || (isTerminal(status.status) && this.cursor >= status.seq) ? "over" : "all";
  }
}

/** Does `look` until it answers true; between two looks waits for the intent's log to grow, or the poll. */
async function lookAgain(
  wakeups: Wakeups,
  intentId: string,
  look: () => Promise<boolean>,
  pause: () => { readonly ms: number; readonly signal: AbortSignal },
): Promise<void> {
  while (!pause().signal.aborted) {
    // Subscribed before reading: a commit between the read and the wait still wakes us.
    let woken = false;
    const unsubscribe = wakeups.intents.on(intentId, () => {
      woken = true;
    });
    try {
      if (await look()) return;
    } finally {
      unsubscribe();
    }
    const { ms, signal } = pause();
    if (!woken) await nextWake((listener) => wakeups.intents.on(intentId, listener), ms, signal);
  }
}

/** Sends events after `since` until the intent has ended and its last event is sent. */
export async function followIntent(
  engine: Engine,
  wakeups: Wakeups,
  intentId: string,
  frames: FrameStream,
  options: FollowOptions,
): Promise<void> {
  const following = new Following(engine, intentId, frames, options.since);
  await following.announceGap();
  const look = async (): Promise<boolean> => {
    let page = await following.sendPage();
    while (page === "more" && frames.open) page = await following.sendPage();
    if (page === "over") frames.send({ event: "stream.end", data: { reason: "terminal" } });
    return page !== "all";
  };
  await lookAgain(wakeups, intentId, look, () => ({ ms: options.pollMs, signal: options.signal }));
}

export interface EventWindow extends FollowOptions {
  readonly waitMs: number;
  /** Its reader sees nothing before the answer has ended. */
  readonly endsAfterBatch: boolean;
  readonly onError: (error: unknown) => void;
}

/**
 * The same for a while. Ends behind the intent's last event, and holds a window in which there is nothing to tell, also after that event:
 * its reader would be back at once.
 */
export async function followInWindow(
  engine: Engine,
  wakeups: Wakeups,
  intentId: string,
  frames: FrameStream,
  options: EventWindow,
): Promise<void> {
  const until = performance.now() + options.waitMs;
  const following = new Following(engine, intentId, frames, options.since);
  let begun = false;
  let ended = false;
  const look = async (): Promise<boolean> => {
    try {
      if (!begun) await following.announceGap();
      begun = true;
      let page = await following.sendPage();
      while (page === "more" && frames.open) page = await following.sendPage();
      ended = page === "gone" || (following.sent > 0 && (page === "over" || options.endsAfterBatch));
    } catch (error) {
      // Held until its time is up: cut off, its reader would give up.
      options.onError(error);
    }
    return ended || performance.now() >= until;
  };
  await lookAgain(wakeups, intentId, look, () => ({
    ms: Math.min(options.pollMs, until - performance.now()),
    signal: options.signal,
  }));
  if (!ended) frames.send({ event: "stream.timeout", data: { ok: true, next_seq: following.cursor } });
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

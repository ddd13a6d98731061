// One reader's way along the feed of all intents: what it may see and asked for, frame by frame. Never waits for the slow: a reader
// that falls behind what the tail keeps is told of a gap and goes on from there.

import { type Access, covers, maySee } from "../domain/access.ts";
import type { EventType } from "../domain/event.ts";
import type { Status } from "../domain/lifecycle.ts";
import type { Store } from "../store/connection.ts";
import { findWithData } from "../store/queries/feed.ts";
import { feedView } from "../wire/feed.ts";
import type { FeedEntry, FeedTail } from "./feed-tail.ts";
import type { FrameStream } from "./frame-stream.ts";
import { nextWake } from "./wakeups.ts";

export interface FeedFilter {
  readonly access: Access;
  readonly status?: readonly Status[];
  readonly eventTypes?: readonly EventType[];
  /** A canonical address, or a pattern of them. */
  readonly toAgent?: string;
  readonly intentType?: string;
  readonly intentIds?: ReadonlySet<string>;
  readonly parentIntentId?: string;
  readonly session?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface FollowFeed {
  readonly filter: FeedFilter;
  readonly cursor: string | null;
  /** Apart between two looks; of each intent only its newest event is sent then. 0: every event, at once. */
  readonly intervalMs: number;
  /** Tells at least so often how far it has come, also when nothing was for this reader. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
}

const PAGE = 500;
/** Intents told of at once where only the newest event counts; more than a page can show is a reason to read it anew. */
const COALESCED_MAX = 300;
/** Intents remembered by what is written once with them. */
const REMEMBERED_MAX = 5_000;

export class FeedReader {
  readonly #store: Store;
  readonly #tail: FeedTail;
  readonly #frames: FrameStream;
  readonly #options: FollowFeed;
  readonly #wanted = new Map<string, boolean>();
  #position: number;
  #toldAt = performance.now();
  #told: number;

  constructor(store: Store, tail: FeedTail, frames: FrameStream, options: FollowFeed) {
    this.#store = store;
    this.#tail = tail;
    this.#frames = frames;
    this.#options = options;
    const from = options.cursor === null ? tail.position : tail.positionOf(options.cursor);
    this.#position = from ?? tail.position;
    this.#told = this.#position;
    this.#tell("stream.open", {
      ok: true,
      cursor: tail.cursorOf(this.#position),
      interval_ms: options.intervalMs,
    });
    if (from === null) this.#tell("stream.gap", { reason: "unknown_cursor" });
  }

  async follow(): Promise<void> {
    const stop = this.#tail.watch();
    try {
      while (this.#frames.open && !this.#options.signal.aborted) await this.#lookAndWait();
    } finally {
      stop();
    }
  }

  async #lookAndWait(): Promise<void> {
    const { signal, intervalMs, idleMs } = this.#options;
    if (intervalMs === 0) await this.#sendPage();
    else await this.#sendNewest();
    this.#tellHowFar();
    await this.#frames.ready();
    if (intervalMs > 0) await nextWake(() => () => undefined, intervalMs, signal);
    // Nothing comes between this look at where the tail is and the waiting for what follows.
    if (this.#tail.position === this.#position)
      await nextWake((listener) => this.#tail.on(listener), idleMs, signal);
  }

  /** Every event that is for this reader, in order. */
  async #sendPage(): Promise<void> {
    const { entries, gap, position } = this.#tail.read(this.#position, PAGE);
    this.#position = position;
    if (gap !== null) this.#tell("stream.gap", { reason: gap });
    for (const entry of await this.#selected(entries)) this.#send(entry, 1);
  }

  /** Of each intent the newest event, of everything there is by now. */
  async #sendNewest(): Promise<void> {
    const { entries, gap, position } = this.#tail.read(this.#position, Number.POSITIVE_INFINITY);
    this.#position = position;
    if (gap !== null) this.#tell("stream.gap", { reason: gap });
    const newest = new Map<string, { entry: FeedEntry; events: number }>();
    for (const entry of await this.#selected(entries)) {
      const events = (newest.get(entry.intent.id)?.events ?? 0) + 1;
      // Behind all that were told of before it: the last frame has the last position.
      newest.delete(entry.intent.id);
      newest.set(entry.intent.id, { entry, events });
    }
    if (newest.size > COALESCED_MAX) this.#tell("stream.gap", { reason: "too_many" });
    else for (const { entry, events } of newest.values()) this.#send(entry, events);
  }

  #send(entry: FeedEntry, events: number): void {
    this.#told = entry.position;
    this.#toldAt = performance.now();
    const id = this.#tail.cursorOf(entry.position);
    this.#frames.send({ id, event: entry.event.type, data: feedView(entry.intent, entry.event, events) });
  }

  #tell(event: string, data: object): void {
    this.#told = this.#position;
    this.#toldAt = performance.now();
    this.#frames.send({ id: this.#tail.cursorOf(this.#position), event, data });
  }

  /** A reader to whom nothing is said for long would come back with a cursor that is too old. */
  #tellHowFar(): void {
    if (this.#told === this.#position || performance.now() - this.#toldAt < this.#options.idleMs) return;
    this.#tell("stream.cursor", { cursor: this.#tail.cursorOf(this.#position) });
  }

  async #selected(entries: readonly FeedEntry[]): Promise<readonly FeedEntry[]> {
    const { filter } = this.#options;
    const chosen = entries.filter((entry) => isFor(filter, entry));
    if (filter.session === undefined && filter.metadata === undefined) return chosen;
    await this.#lookUp(chosen);
    return chosen.filter(({ intent }) => this.#wanted.get(intent.id) === true);
  }

  /** What is written once with an intent is asked for once. */
  async #lookUp(entries: readonly FeedEntry[]): Promise<void> {
    const ids = [...new Set(entries.map(({ intent }) => intent.id))].filter((id) => !this.#wanted.has(id));
    if (ids.length === 0) return;
    const { session, metadata } = this.#options.filter;
    const found = await findWithData(this.#store, ids, {
      session: session ?? null,
      metadata: metadata ?? {},
    });
    if (this.#wanted.size + ids.length > REMEMBERED_MAX) this.#wanted.clear();
    for (const id of entries.map(({ intent }) => intent.id))
      if (ids.includes(id)) this.#wanted.set(id, found.has(id));
  }
}

function isFor(filter: FeedFilter, { intent, event }: FeedEntry): boolean {
  const { access, status, eventTypes, toAgent, intentType, intentIds, parentIntentId } = filter;
  if (status !== undefined && !status.includes(event.status)) return false;
  if (eventTypes !== undefined && !eventTypes.includes(event.type)) return false;
  if (intentType !== undefined && intent.intentType !== intentType) return false;
  if (intentIds !== undefined && !intentIds.has(intent.id)) return false;
  if (parentIntentId !== undefined && intent.parentId !== parentIntentId) return false;
  if (toAgent !== undefined && !isAt(toAgent, intent.toAgent)) return false;
  return maySee(access, intent);
}

const isAt = (pattern: string, address: string): boolean =>
  pattern === address ||
  (pattern.endsWith("*") && covers({ verbs: [], namespace: "", address: "", patterns: [pattern] }, address));

// What was committed lately, in the order in which this server learned of it: what the feed of all intents is served from. Kept in
// memory only, while somebody watches and for a while after; writes pay nothing for it while nobody does. Bounded: whoever falls
// behind what is kept is told so (docs/decisions/0015-the-feed.md).

import { randomBytes } from "node:crypto";
import type { IntentEvent } from "../domain/event.ts";
import type { Intent } from "../domain/intent.ts";
import type { Store } from "../store/connection.ts";
import { type LogRange, readRanges } from "../store/queries/ranges.ts";
import type { Change } from "../store/workspace.ts";

export interface FeedEntry {
  readonly position: number;
  /** As the commit left it. */
  readonly intent: Intent;
  /** Its details hold only what is small. */
  readonly event: IntentEvent;
}

/** Why entries are missing between a reader's cursor and the next entry. */
export type GapReason = "unknown_cursor" | "too_old" | "missed";

export interface FeedPage {
  readonly entries: readonly FeedEntry[];
  /** Where to read on. */
  readonly position: number;
  readonly gap: GapReason | null;
}

export interface FeedTailOptions {
  readonly store: Store;
  readonly maxEntries: number;
  readonly onError: (error: unknown) => void;
}

/** How long it goes on without a reader, so that one that reconnects finds its place again. */
const KEPT_MS = 300_000;
const TEXT_MAX = 200;
const MEMBERS_MAX = 12;
/** Intents that are read at once on another replica's word, and how many may wait to be. */
const RANGES_AT_ONCE = 200;
const RANGES_MAX = 5_000;

export class FeedTail {
  readonly #options: FeedTailOptions;
  /** A cursor of another process, or of this one before it was started again, means nothing here. */
  readonly #epoch = randomBytes(6).toString("base64url");
  #entries: FeedEntry[] = [];
  #next = 1;
  /** What was dropped below this position was lost, not outgrown. */
  #missedBefore = 1;
  #readers = 0;
  #recording = false;
  #forget: NodeJS.Timeout | undefined;
  readonly #listeners = new Set<() => void>();
  readonly #ranges = new Map<string, LogRange>();
  #reading = false;

  constructor(options: FeedTailOptions) {
    this.#options = options;
  }

  get position(): number {
    return this.#next - 1;
  }

  cursorOf(position: number): string {
    return `${this.#epoch}.${position}`;
  }

  /** The position that a cursor stands for; null for one that was not issued here. */
  positionOf(cursor: string): number | null {
    const at = cursor.lastIndexOf(".");
    const position = Number(cursor.slice(at + 1));
    const ours = at > 0 && cursor.slice(0, at) === this.#epoch && /^\d{1,15}$/.test(cursor.slice(at + 1));
    return ours && position < this.#next ? position : null;
  }

  /** From now on everything is kept that is committed; answers what ends it. */
  watch(): () => void {
    clearTimeout(this.#forget);
    this.#readers += 1;
    this.#recording = true;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      this.#readers -= 1;
      if (this.#readers > 0) return;
      this.#forget = setTimeout(() => this.#stop(), KEPT_MS);
      this.#forget.unref();
    };
  }

  on(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Commits of this server. */
  follow(changes: readonly Change[]): void {
    if (!this.#recording) return;
    for (const { after, events } of changes) for (const event of events) this.#append(after, event);
    this.#wake();
  }

  /** Another server says that a log grew; what it says there is read here, once for all readers. */
  hear(range: LogRange): void {
    if (!this.#recording) return;
    const known = this.#ranges.get(range.intentId);
    this.#ranges.set(range.intentId, {
      intentId: range.intentId,
      from: Math.min(range.from, known?.from ?? range.from),
      to: Math.max(range.to, known?.to ?? range.to),
    });
    if (this.#ranges.size > RANGES_MAX) {
      this.#ranges.clear();
      this.lose();
    } else void this.#readRanges();
  }

  /** Something happened that nobody can name: readers are told that there is a gap. */
  lose(): void {
    if (!this.#recording) return;
    this.#entries = [];
    this.#next += 1;
    this.#missedBefore = this.#next;
    this.#wake();
  }

  /** What follows a position, at most `max` entries. */
  read(after: number, max: number): FeedPage {
    const first = this.#next - this.#entries.length;
    const gap = after >= first - 1 ? null : after < this.#missedBefore - 1 ? "missed" : "too_old";
    const from = gap === null ? after - first + 1 : this.#entries.length;
    const entries = this.#entries.slice(from, from + max);
    return { entries, position: entries.at(-1)?.position ?? this.position, gap };
  }

  #append(intent: Intent, event: IntentEvent): void {
    const slim = event.details === null ? event : { ...event, details: smallMembers(event.details) };
    this.#entries.push({ position: this.#next, intent, event: slim });
    this.#next += 1;
    // In large cuts: taking one off the front of an array each time is dear.
    if (this.#entries.length > this.#options.maxEntries * 2)
      this.#entries = this.#entries.slice(-this.#options.maxEntries);
  }

  #stop(): void {
    this.lose();
    this.#recording = false;
    this.#ranges.clear();
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  async #readRanges(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#ranges.size > 0) {
        const some = [...this.#ranges.values()].slice(0, RANGES_AT_ONCE);
        for (const { intentId } of some) this.#ranges.delete(intentId);
        for (const { intent, event } of await readRanges(this.#options.store, some))
          this.#append(intent, event);
        this.#wake();
      }
    } catch (error) {
      this.#ranges.clear();
      this.#options.onError(error);
      this.lose();
    } finally {
      this.#reading = false;
    }
  }
}

/** Scalars and short lists of words: enough for a line about it. Results, inputs and whatever is large are in the log. */
function smallMembers(details: unknown): Record<string, unknown> | null {
  if (typeof details !== "object" || details === null) return null;
  const small: Record<string, unknown> = {};
  let members = 0;
  for (const name of Object.keys(details)) {
    const value = (details as Record<string, unknown>)[name];
    if (members === MEMBERS_MAX || !isSmall(value)) continue;
    small[name] = value;
    members += 1;
  }
  return small;
}

function isSmall(value: unknown): boolean {
  switch (typeof value) {
    case "number":
    case "boolean":
      return true;
    case "string":
      return value.length <= TEXT_MAX;
    default:
      return Array.isArray(value) && value.length <= MEMBERS_MAX && value.every(isShort);
  }
}

const isShort = (value: unknown): boolean => typeof value === "string" && value.length <= TEXT_MAX;

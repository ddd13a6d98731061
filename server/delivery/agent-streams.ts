// The open agent streams of this process and what each is told. Streams come and go; leases live in the database.

import type { Change } from "../store/workspace.ts";
import type { Frame, FrameStream } from "./frame-stream.ts";

export interface AgentStream {
  readonly consumerId: string;
  readonly streamNo: number;
  readonly address: string;
  readonly name: string;
  /** 0 while its agent drains. */
  capacity: number;
  /** Our estimate; the database decides at every claim. May be below zero while commits are told out of order. */
  held: number;
  /** How often commits have moved the estimate. */
  moves: number;
  readonly leaseTtlMs: number;
  readonly frames: FrameStream;
}

/** Consumers locked at most for one hand-over; a larger batch goes through the queue. */
const FREE_MAX = 8;

export class AgentStreams {
  readonly #byConsumer = new Map<string, AgentStream>();
  readonly #byAddress = new Map<string, Set<AgentStream>>();
  #turn = 0;

  add(stream: AgentStream): void {
    const older = this.#byConsumer.get(stream.consumerId);
    if (older !== undefined) {
      this.remove(older);
      older.frames.send({ event: "stream.end", data: { reason: "replaced" } });
      older.frames.end();
    }
    this.#byConsumer.set(stream.consumerId, stream);
    const set = this.#byAddress.get(stream.address) ?? new Set();
    set.add(stream);
    this.#byAddress.set(stream.address, set);
  }

  remove(stream: AgentStream): void {
    if (this.#byConsumer.get(stream.consumerId) === stream) this.#byConsumer.delete(stream.consumerId);
    const set = this.#byAddress.get(stream.address);
    set?.delete(stream);
    if (set?.size === 0) this.#byAddress.delete(stream.address);
  }

  get(consumerId: string): AgentStream | undefined {
    return this.#byConsumer.get(consumerId);
  }

  at(address: string): readonly AgentStream[] {
    return [...(this.#byAddress.get(address) ?? [])];
  }

  /** Streams with room for up to `count` intents by our estimate; another one comes first each time. */
  free(address: string, count: number): AgentStream[] {
    const streams = this.at(address);
    const first = streams.length === 0 ? 0 : this.#turn++ % streams.length;
    const chosen: AgentStream[] = [];
    let room = 0;
    for (let i = 0; i < streams.length && room < count && chosen.length < FREE_MAX; i += 1) {
      const stream = streams[(first + i) % streams.length] as AgentStream;
      if (!stream.frames.open || stream.capacity <= stream.held) continue;
      chosen.push(stream);
      room += stream.capacity - stream.held;
    }
    return chosen;
  }

  all(): readonly AgentStream[] {
    return [...this.#byConsumer.values()];
  }

  addresses(): string[] {
    return [...this.#byAddress.keys()];
  }

  /** Ends one stream normally, unless another one has taken its place. */
  end(consumerId: string, reason: string, streamNo?: number): void {
    const stream = this.#byConsumer.get(consumerId);
    if (stream === undefined || (streamNo !== undefined && stream.streamNo !== streamNo)) return;
    stream.frames.send({ event: "stream.end", data: { reason } });
    stream.frames.end();
  }

  /** Ends every stream normally; their leases are left alone. */
  endAll(reason: string): void {
    for (const stream of this.all()) {
      stream.frames.send({ event: "stream.end", data: { reason } });
      stream.frames.end();
    }
  }

  /** Keeps the estimates and tells holders what ended under them. */
  follow(changes: readonly Change[]): void {
    for (const change of changes) {
      const holder = change.before?.consumerId ?? null;
      if (holder !== change.after.consumerId) this.#moveHeld(holder, change.after.consumerId);
      if (holder === null || !this.#byConsumer.has(holder)) continue;
      for (const frame of holderFrames(change)) this.tell(holder, frame);
    }
  }

  /** Says something to a holder, if its stream is open here. */
  tell(consumerId: string, frame: Frame): void {
    this.#byConsumer.get(consumerId)?.frames.send(frame);
  }

  #moveHeld(from: string | null, to: string | null): void {
    const old = from === null ? undefined : this.#byConsumer.get(from);
    if (old !== undefined) {
      old.held -= 1;
      old.moves += 1;
    }
    const next = to === null ? undefined : this.#byConsumer.get(to);
    if (next !== undefined) {
      next.held += 1;
      next.moves += 1;
    }
  }

  /** What the database said is held, unless a commit has moved the estimate since it was asked: that knows better. */
  believe(stream: AgentStream, movesThen: number, held: number): void {
    if (stream.moves === movesThen) stream.held = held;
  }

  deliver(consumerId: string, streamNo: number, frame: { seq: number; data: unknown }): boolean {
    const stream = this.#byConsumer.get(consumerId);
    if (stream === undefined || stream.streamNo !== streamNo) return false;
    return stream.frames.send({ id: frame.seq, event: "intent.delivered", data: frame.data });
  }
}

/** What the holder before this change has to be told of it, through whichever replica has its stream. */
export function holderFrames(change: Change): Frame[] {
  const { before, after } = change;
  if (before === null || before.consumerId === null) return [];
  const { attempt } = before;
  const end = endFrame(attempt, change);
  const paused: Frame[] =
    !before.paused && after.paused
      ? [{ event: "intent.paused", data: { intent_id: after.id, attempt } }]
      : [];
  return end === null ? paused : [...paused, end];
}

/** What a holder could not know by itself: its own complete, fail, release need no telling. */
function endFrame(attempt: number, { after, events }: Change): Frame | null {
  for (const event of events) {
    if (event.attempt !== attempt) continue;
    const common = { intent_id: after.id, attempt };
    if (event.type === "intent.restored")
      return { event: "intent.lost", data: { ...common, reason: "restored" } };
    if (event.type === "intent.lost")
      return { event: "intent.lost", data: { ...common, reason: reasonOf(event.details) } };
    if (event.type === "intent.canceled" || event.type === "intent.timed_out") {
      return {
        event: "intent.canceled",
        data: { ...common, status: after.status, reason: reasonOf(event.details) },
      };
    }
  }
  return null;
}

function reasonOf(details: unknown): string {
  const { reason, error } = (details ?? {}) as { reason?: unknown; error?: { message?: unknown } };
  const text = reason ?? error?.message;
  return typeof text === "string" ? text : "ended";
}

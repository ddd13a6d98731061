// Streams that ended without our doing, marked as closed together: when a fleet goes, each would be a commit of its own.

import type { Engine } from "../engine/context.ts";
import { isConflict, isLockTimeout } from "../store/connection.ts";
import { markStreamsClosed, type StreamRef } from "../store/consumers.ts";

export interface ClosingsOptions {
  /** A lease will end in so many milliseconds: look then, rather than at the next poll. */
  readonly leaseEndsIn: (ms: number) => void;
  readonly onError: (error: unknown) => void;
}

/** A little behind the end of a lease it is over for certain. */
const BEHIND_MS = 5;

export class Closings {
  readonly #engine: Engine;
  readonly #options: ClosingsOptions;
  #waiting: StreamRef[] = [];
  #marking = false;

  constructor(engine: Engine, options: ClosingsOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  /** Begins the grace of this stream's consumer, unless it has a newer one. */
  add(stream: StreamRef): void {
    this.#waiting.push(stream);
    if (this.#marking) return;
    this.#marking = true;
    // Everybody that goes in this turn of the event loop.
    setImmediate(() => void this.#markAll());
  }

  async #markAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#mark(this.#waiting.splice(0));
    this.#marking = false;
  }

  async #mark(streams: readonly StreamRef[]): Promise<void> {
    const { store, settings } = this.#engine;
    try {
      await markStreamsClosed(store, streams, settings.reconnectGraceMs);
      this.#options.leaseEndsIn(settings.reconnectGraceMs + BEHIND_MS);
    } catch (error) {
      // What holds one up is no business of the others.
      if (streams.length > 1 && (isLockTimeout(error) || isConflict(error)))
        for (const one of streams) void this.#mark([one]);
      else this.#options.onError(error);
    }
  }
}

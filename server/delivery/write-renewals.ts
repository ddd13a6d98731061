// A claim-mode consumer has no stream: its fenced writes are its signs of life. Renewed after the commit and at most
// once a second each, because the write itself holds the intent's lock and consumers are locked before intents.

import type { Engine } from "../engine/context.ts";
import { renewByWrite } from "../store/consumers.ts";
import type { Change } from "../store/workspace.ts";
import type { AgentStreams } from "./agent-streams.ts";

const EVERY_MS = 1_000;
const REMEMBERED = 10_000;

export class WriteRenewals {
  readonly #engine: Engine;
  readonly #streams: AgentStreams;
  readonly #onError: (error: unknown) => void;
  readonly #last = new Map<string, number>();

  constructor(engine: Engine, streams: AgentStreams, onError: (error: unknown) => void) {
    this.#engine = engine;
    this.#streams = streams;
    this.#onError = onError;
  }

  follow(changes: readonly Change[]): void {
    const now = performance.now();
    const due = new Set<string>();
    for (const { before, after } of changes) {
      const id = after.consumerId;
      // Consumers with a stream here live by their stream and heartbeats.
      if (id === null || before?.consumerId !== id || this.#streams.get(id) !== undefined) continue;
      if (now - (this.#last.get(id) ?? Number.NEGATIVE_INFINITY) >= EVERY_MS) due.add(id);
    }
    if (due.size === 0) return;
    if (this.#last.size > REMEMBERED) this.#last.clear();
    for (const id of due) this.#last.set(id, now);
    renewByWrite(this.#engine.store, [...due]).catch(this.#onError);
  }
}

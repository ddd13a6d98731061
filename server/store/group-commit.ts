// Group commit by folding: everything that waits becomes one transaction. The rows are locked and read in one
// trip, each operation is decided in memory over what the one before left, and all writes go out with COMMIT in a
// second trip. A refused operation costs its neighbours nothing. Measured alternatives: docs/decisions.
// Owns the queue, the flushes and what to do when a commit's answer is lost; decides nothing about intents.

import type { PoolClient } from "pg";
import { Refusal } from "../domain/refusal.ts";
import { commitPipelined } from "./commit.ts";
import { isConflict, isConnectionError, isRefusedByDatabase, type Store } from "./connection.ts";
import { type HeadRef, load, type SessionRef, type SignalNeeds, type StepNeeds } from "./load.ts";
import { sendWrites } from "./persist.ts";
import type { SlotRef } from "./slots.ts";
import { type Change, headName, type IdempotencyRef, idempotencyId, Workspace } from "./workspace.ts";

/** One operation of a batch. `decide` stages drafts and returns the answer; a returned Refusal is committed and thrown. */
export interface Write<T> {
  readonly name: string;
  readonly intents: readonly string[];
  readonly steps?: readonly StepNeeds[];
  readonly idempotency?: IdempotencyRef;
  /** State keys that it decides over. */
  readonly state?: readonly HeadRef[];
  /** Consumers that seem free for what this operation creates. */
  readonly slots?: readonly SlotRef[];
  readonly signals?: readonly SignalNeeds[];
  /** Intents of which it matters how they ended; not locked. */
  readonly ends?: readonly string[];
  /** Sessions that it creates intents in. */
  readonly sessions?: readonly SessionRef[];
  decide(work: Workspace): T | Refusal;
}

export interface GroupCommitOptions {
  /** Operations waiting at most; one more is refused as `unavailable`. */
  readonly queueMax: number;
  readonly batchMax?: number;
  readonly flushesMax?: number;
  readonly onCommit?: (changes: Change[]) => void;
  readonly onFlush?: (flush: { operations: number; ms: number }) => void;
  readonly onError?: (error: unknown, operations: number) => void;
  /** How long an operation may wait for a database that is away before it is answered `unavailable`. */
  readonly outageMs?: number;
}

interface Entry {
  readonly write: Write<unknown>;
  readonly locks: readonly string[];
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly since: number;
}

type Verdict = { readonly value: unknown } | { readonly error: unknown };

const BATCH_MAX = 500;
const FLUSHES_MAX = 2;
const OUTAGE_MS = 5_000;
const RETRY_PAUSE_MS = 50;
const CONFLICT_TRIES = 20;
const AWAY = () => new Refusal("unavailable", "the database is away; try again", { cause: "database" });

export class GroupCommit {
  readonly #store: Store;
  readonly #options: GroupCommitOptions;
  #queue: Entry[] = [];
  #flushes = 0;
  readonly #locked = new Set<string>();
  #scheduled = false;
  #idle: (() => void)[] = [];
  #closed = false;

  constructor(store: Store, options: GroupCommitOptions) {
    this.#store = store;
    this.#options = options;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Resolves once the operation is durably committed; rejects with its Refusal, or `unavailable`. */
  submit<T>(write: Write<T>): Promise<T> {
    if (this.#closed)
      return Promise.reject(new Refusal("unavailable", "the server is shutting down; try again"));
    if (this.#queue.length >= this.#options.queueMax) {
      return Promise.reject(new Refusal("unavailable", "too many writes are waiting; try again in a second"));
    }
    const locks = [...write.intents];
    for (const { namespace, scope, key } of write.state ?? []) locks.push(headName(namespace, scope, key));
    if (write.idempotency !== undefined) locks.push(idempotencyId(write.idempotency));
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({
        write,
        locks,
        resolve: resolve as (value: unknown) => void,
        reject,
        since: Date.now(),
      });
      this.#schedule();
    });
  }

  /** Waits for everything accepted so far, then refuses new operations. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#queue.length === 0 && this.#flushes === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Everything that arrives in this turn of the event loop shares the flush; an idle server adds no delay.
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#flushes < (this.#options.flushesMax ?? FLUSHES_MAX)) {
      const batch = this.#takeBatch();
      if (batch.length === 0) break;
      this.#flushes += 1;
      void this.#flush(batch).finally(() => {
        this.#flushes -= 1;
        for (const entry of batch) for (const lock of entry.locks) this.#locked.delete(lock);
        this.#pump();
        if (this.#queue.length === 0 && this.#flushes === 0) for (const wake of this.#idle.splice(0)) wake();
      });
    }
  }

  /** The waiting operations, in order, less those whose intent is in the other flush (and what waits behind them). */
  #takeBatch(): Entry[] {
    const max = this.#options.batchMax ?? BATCH_MAX;
    const batch: Entry[] = [];
    const held = new Set<string>();
    const rest: Entry[] = [];
    for (const entry of this.#queue) {
      const blocked =
        batch.length >= max || entry.locks.some((lock) => this.#locked.has(lock) || held.has(lock));
      if (blocked) {
        for (const lock of entry.locks) held.add(lock);
        rest.push(entry);
      } else batch.push(entry);
    }
    this.#queue = rest;
    for (const entry of batch) for (const lock of entry.locks) this.#locked.add(lock);
    return batch;
  }

  async #flush(batch: readonly Entry[]): Promise<void> {
    const started = performance.now();
    for (let conflicts = 0; ; ) {
      try {
        const done = await this.#tryFlush(batch);
        this.#options.onFlush?.({ operations: batch.length, ms: performance.now() - started });
        this.#answer(batch, done.verdicts);
        if (done.changes.length > 0) this.#options.onCommit?.(done.changes);
        return;
      } catch (error) {
        this.#options.onError?.(error, batch.length);
        if (isConnectionError(error)) {
          if (!this.#mayWait(batch)) return this.#rejectAll(batch, AWAY());
          await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
        } else if (!isConflict(error) || ++conflicts > CONFLICT_TRIES) {
          // Not known to be undone: nothing of it may be tried a second time.
          const undone = isRefusedByDatabase(error) || error instanceof Unsendable;
          if (batch.length === 1 || !undone) return this.#rejectAll(batch, error);
          // What the database refuses is one operation's doing: its neighbours go without it.
          for (const entry of batch) await this.#flush([entry]);
          return;
        }
      }
    }
  }

  #mayWait(batch: readonly Entry[]): boolean {
    const oldest = Math.min(...batch.map((entry) => entry.since));
    return Date.now() - oldest < (this.#options.outageMs ?? OUTAGE_MS);
  }

  #rejectAll(batch: readonly Entry[], error: unknown): void {
    for (const entry of batch) entry.reject(error);
  }

  #answer(batch: readonly Entry[], verdicts: readonly Verdict[]): void {
    batch.forEach((entry, index) => {
      const verdict = verdicts[index] as Verdict;
      if ("error" in verdict) entry.reject(verdict.error);
      else entry.resolve(verdict.value);
    });
  }

  async #tryFlush(batch: readonly Entry[]): Promise<{ verdicts: Verdict[]; changes: Change[] }> {
    const client = await this.#store.writers.connect();
    let healthy = false;
    try {
      const begun = client.query("begin");
      begun.catch(() => undefined);
      const loaded = await load(client, {
        intents: [...new Set(batch.flatMap((entry) => entry.write.intents))],
        steps: batch.flatMap((entry) => entry.write.steps ?? []),
        records: batch.flatMap((entry) =>
          entry.write.idempotency === undefined ? [] : [entry.write.idempotency],
        ),
        heads: batch.flatMap((entry) => entry.write.state ?? []),
        slots: batch.flatMap((entry) => entry.write.slots ?? []),
        signals: batch.flatMap((entry) => entry.write.signals ?? []),
        ends: [...new Set(batch.flatMap((entry) => entry.write.ends ?? []))],
        sessions: batch.flatMap((entry) => entry.write.sessions ?? []),
      });
      const work = new Workspace(loaded.now);
      loaded.fill(work);
      const verdicts = batch.map((entry) => decide(entry.write, work));
      const proof = { xid: loaded.xid, event: work.events[0] };
      await commitPipelined(this.#store, client, send(client, work), proof);
      healthy = true;
      return { verdicts, changes: work.changes() };
    } finally {
      // A connection that failed in the middle is in an unknown state: never reused.
      client.release(!healthy);
    }
  }
}

/** Something to be written cannot be encoded: COMMIT was never sent. */
class Unsendable extends Error {}

function send(client: PoolClient, work: Workspace): Promise<unknown>[] {
  try {
    return sendWrites(client, work);
  } catch (cause) {
    throw new Unsendable("a value cannot be written to the database", { cause });
  }
}

function decide(write: Write<unknown>, work: Workspace): Verdict {
  try {
    const value = write.decide(work);
    work.settle();
    return value instanceof Refusal ? { error: value } : { value };
  } catch (error) {
    work.discard();
    // Anything that is not a refusal is a bug in one operation: it must not take its neighbours down.
    return { error };
  }
}

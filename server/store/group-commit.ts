// Group commit by folding: everything that waits becomes one transaction. The rows are locked and read in one
// trip, each operation is decided in memory over what the one before left, and all writes go out with COMMIT in a
// second trip. A refused operation costs its neighbours nothing. Measured alternatives: docs/decisions.
// Owns the queue, the flushes and what to do when a commit's answer is lost; decides nothing about intents.

import type { PoolClient } from "pg";
import { Refusal } from "../domain/refusal.ts";
import { commitPipelined, proofOf, rollBack } from "./commit.ts";
import {
  isAftermath,
  isConflict,
  isConnectionError,
  isLockTimeout,
  isProtocolViolation,
  isRefusedByDatabase,
  type Store,
  sendTogether,
} from "./connection.ts";
import { HeldUp, lockWhatIsFree, partByLocks, SlowLane } from "./held-up.ts";
import { type HeadRef, load, type SessionRef, type SignalNeeds, StaleRows, type StepNeeds } from "./load.ts";
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
  /** About how much it brings along; keys and the like need not be counted. */
  readonly bytes?: number;
  decide(work: Workspace): T | Refusal;
}

export interface GroupCommitOptions {
  /** Operations waiting at most; one more is refused as `unavailable`. */
  readonly queueMax: number;
  /** What operations that are not answered yet may bring along in all. */
  readonly queueMaxBytes?: number;
  readonly batchMax?: number;
  readonly batchMaxBytes?: number;
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
  readonly bytes: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly since: number;
  /** Held up once: the slow lane gives its locks back. */
  parked: boolean;
}

/** How operations are tried that another transaction holds up: whoever is free goes on, and by then nobody is looked for any more. */
interface Apart {
  readonly until: number;
}

interface Flushed {
  readonly entries: readonly Entry[];
  readonly verdicts: readonly Verdict[];
  readonly changes: Change[];
  readonly heldUp: readonly Entry[];
}

type Verdict = { readonly value: unknown } | { readonly error: unknown };

const BATCH_MAX = 500;
/** Far below what one message to PostgreSQL may hold (1 GiB), and soon written. One larger operation goes alone. */
const BATCH_MAX_BYTES = 32 * 1_048_576;
const QUEUE_MAX_BYTES = 256 * 1_048_576;
/** A message of less is never too long. */
const LONG_BYTES = 1_048_576;
const FLUSHES_MAX = 2;
const OUTAGE_MS = 5_000;
const RETRY_PAUSE_MS = 50;
const CONFLICT_TRIES = 20;
const SEARCH_MS = 1_000;
const search = (): Apart => ({ until: performance.now() + SEARCH_MS });
const AWAY = () => new Refusal("unavailable", "the database is away; try again", { cause: "database" });

export class GroupCommit {
  readonly #store: Store;
  readonly #options: GroupCommitOptions;
  #queue: Entry[] = [];
  #bytes = 0;
  #flushes = 0;
  readonly #locked = new Set<string>();
  #scheduled = false;
  #idle: (() => void)[] = [];
  #closed = false;
  readonly #slowLane = new SlowLane<Entry>({
    flush: (batch) => this.#flush(batch, search()),
    take: (waiting) => waiting.slice(0, this.#countThatFit(waiting)),
    onLeft: (entry) => {
      this.#unlock(entry);
      this.#pump();
    },
  });

  constructor(store: Store, options: GroupCommitOptions) {
    this.#store = store;
    this.#options = options;
  }

  get waiting(): number {
    return this.#queue.length + this.#slowLane.size;
  }

  /** Resolves once the operation is durably committed; rejects with its Refusal, or `unavailable`. */
  submit<T>(write: Write<T>): Promise<T> {
    if (this.#closed)
      return Promise.reject(new Refusal("unavailable", "the server is shutting down; try again"));
    const bytes = write.bytes ?? 0;
    const tooMuch = this.#bytes > 0 && this.#bytes + bytes > (this.#options.queueMaxBytes ?? QUEUE_MAX_BYTES);
    if (tooMuch || this.waiting >= this.#options.queueMax) {
      return Promise.reject(new Refusal("unavailable", "too many writes are waiting; try again in a second"));
    }
    const locks = [...write.intents];
    for (const { namespace, scope, key } of write.state ?? []) locks.push(headName(namespace, scope, key));
    if (write.idempotency !== undefined) locks.push(idempotencyId(write.idempotency));
    this.#bytes += bytes;
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({
        write,
        locks,
        bytes,
        resolve: resolve as (value: unknown) => void,
        reject,
        since: Date.now(),
        parked: false,
      });
      this.#schedule();
    }).finally(() => {
      this.#bytes -= bytes;
    });
  }

  /** Waits for everything accepted so far, then refuses new operations. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#isIdle()) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #isIdle(): boolean {
    return this.waiting === 0 && this.#flushes === 0;
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
      // Whose transaction holds one row may hold many: who needs them is not to find that out by waiting, flush after flush.
      void this.#flush(batch, this.#slowLane.expectsMore ? search() : undefined).finally(() => {
        this.#flushes -= 1;
        for (const entry of batch) if (!entry.parked) this.#unlock(entry);
        this.#pump();
      });
    }
    if (this.#isIdle()) for (const wake of this.#idle.splice(0)) wake();
  }

  #unlock(entry: Entry): void {
    for (const lock of entry.locks) this.#locked.delete(lock);
  }

  /** The waiting operations, in order, less those whose intent is in the other flush (and what waits behind them). */
  #takeBatch(): Entry[] {
    const batch: Entry[] = [];
    let bytes = 0;
    let full = false;
    const held = new Set<string>();
    const rest: Entry[] = [];
    for (const entry of this.#queue) {
      full ||= !this.#fits(entry, batch.length, bytes);
      const blocked = full || entry.locks.some((lock) => this.#locked.has(lock) || held.has(lock));
      if (blocked) {
        for (const lock of entry.locks) held.add(lock);
        rest.push(entry);
      } else if (this.#slowLane.awaits(entry)) {
        for (const lock of entry.locks) this.#locked.add(lock);
        this.#park([entry]);
      } else {
        batch.push(entry);
        bytes += entry.bytes;
      }
    }
    this.#queue = rest;
    for (const entry of batch) for (const lock of entry.locks) this.#locked.add(lock);
    return batch;
  }

  #fits(entry: Entry, count: number, bytes: number): boolean {
    const { batchMax = BATCH_MAX, batchMaxBytes = BATCH_MAX_BYTES } = this.#options;
    return count === 0 || (count < batchMax && bytes + entry.bytes <= batchMaxBytes);
  }

  #countThatFit(entries: readonly Entry[]): number {
    let bytes = 0;
    const end = entries.findIndex((entry, index) => {
      if (!this.#fits(entry, index, bytes)) return true;
      bytes += entry.bytes;
      return false;
    });
    return end === -1 ? entries.length : end;
  }

  async #flush(batch: readonly Entry[], apart?: Apart): Promise<void> {
    const started = performance.now();
    for (let conflicts = 0; ; ) {
      try {
        const done = await this.#tryFlush(batch, apart);
        this.#options.onFlush?.({ operations: done.entries.length, ms: performance.now() - started });
        this.#answer(done.entries, done.verdicts);
        if (done.changes.length > 0) this.#options.onCommit?.(done.changes);
        this.#waitOrGiveUp(done.heldUp);
        return;
      } catch (error) {
        if (error instanceof StaleRows) continue;
        if (isHeldUp(error) && apart !== undefined) return this.#findHeldUp(batch, apart);
        this.#options.onError?.(error, batch.length);
        if (isHeldUp(error)) return this.#flush(batch, search());
        if (isConnectionError(error)) {
          // Too long for PostgreSQL or what stands before it; shorter it may pass.
          const long = batch.length > 1 && bytesOf(batch) > LONG_BYTES;
          if (long && isProtocolViolation(error)) return this.#halves(batch, apart);
          if (!this.#mayWait(batch)) return this.#rejectAll(batch, AWAY());
          await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
        } else if (!isConflict(error) || ++conflicts > CONFLICT_TRIES) {
          // Not known to be undone: nothing of it may be tried a second time.
          const undone = isRefusedByDatabase(error) || error instanceof Unsendable;
          if (batch.length === 1 || !undone) return this.#rejectAll(batch, error);
          // What the database refuses is one operation's doing: its neighbours go without it.
          return this.#halves(batch, apart);
        }
      }
    }
  }

  async #halves(batch: readonly Entry[], apart?: Apart): Promise<void> {
    const middle = batch.length >> 1;
    await this.#flush(batch.slice(0, middle), apart);
    await this.#flush(batch.slice(middle), apart);
  }

  /** A row that another transaction has only inserted shows itself in no other way: whoever waits for it is found by halves. */
  async #findHeldUp(batch: readonly Entry[], apart: Apart): Promise<void> {
    if (batch.length > 1 && performance.now() < apart.until) return this.#halves(batch, apart);
    if (batch.length === 1) this.#slowLane.found({ free: [], busy: batch.flatMap(({ locks }) => locks) });
    this.#waitOrGiveUp(batch);
  }

  #waitOrGiveUp(heldUp: readonly Entry[]): void {
    for (const entry of heldUp)
      if (this.#mayWait([entry])) this.#park([entry]);
      else entry.reject(new HeldUp());
  }

  #park(entries: readonly Entry[]): void {
    for (const entry of entries) entry.parked = true;
    this.#slowLane.park(entries);
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

  async #tryFlush(batch: readonly Entry[], apart: Apart | undefined): Promise<Flushed> {
    const client = await this.#store.writers.connect();
    let healthy = false;
    try {
      sendTogether(client);
      const begun = client.query("begin");
      begun.catch(() => undefined);
      const { free, heldUp } = apart ? await this.#setApart(client, batch) : { free: batch, heldUp: [] };
      const loaded = await load(client, {
        intents: intentsOf(free),
        steps: free.flatMap((entry) => entry.write.steps ?? []),
        records: free.flatMap((entry) =>
          entry.write.idempotency === undefined ? [] : [entry.write.idempotency],
        ),
        heads: headsOf(free),
        // Only ever a shortcut, and one more lock to be held up by.
        slots: {
          queues: this.#store.queues,
          refs: apart ? [] : free.flatMap((entry) => entry.write.slots ?? []),
        },
        signals: free.flatMap((entry) => entry.write.signals ?? []),
        ends: free.flatMap((entry) => (entry.write.ends === undefined ? [] : [entry.write.ends])),
        sessions: free.flatMap((entry) => entry.write.sessions ?? []),
        hotRows: this.#store.hotRows,
      });
      const work = new Workspace(loaded.now);
      loaded.fill(work);
      const verdicts = free.map((entry) => decide(entry.write, work));
      const proof = proofOf(loaded.clock.xid, work);
      sendTogether(client);
      await commitPipelined(this.#store, client, send(client, work), proof);
      healthy = true;
      this.#store.hotRows.follow(work, loaded.clock);
      return { entries: free, verdicts, changes: work.changes(), heldUp };
    } catch (error) {
      healthy = (isHeldUp(error) || error instanceof StaleRows) && (await rollBack(client));
      throw error;
    } finally {
      // A connection that failed in the middle is in an unknown state: never reused.
      client.release(!healthy);
    }
  }

  async #setApart(client: PoolClient, batch: readonly Entry[]) {
    const busy = await lockWhatIsFree(client, intentsOf(batch), headsOf(batch));
    const parts = partByLocks(batch, busy);
    this.#slowLane.found({ free: parts.free.flatMap(({ locks }) => locks), busy });
    return parts;
  }
}

// Behind the look for free consumers, all that reaches us of a lock timeout may be that the transaction has failed.
const isHeldUp = (error: unknown): boolean => isLockTimeout(error) || isAftermath(error);

const intentsOf = (batch: readonly Entry[]) => [...new Set(batch.flatMap((entry) => entry.write.intents))];
const bytesOf = (batch: readonly Entry[]) => batch.reduce((sum, entry) => sum + entry.bytes, 0);
const headsOf = (batch: readonly Entry[]) => batch.flatMap((entry) => entry.write.state ?? []);

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

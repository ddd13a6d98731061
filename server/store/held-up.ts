// What happens to operations whose rows another transaction holds for too long (its server was stopped, somebody forgot a session):
// they are tried again apart from all others, so that nobody waits for them, and are answered `unavailable` in the end.
// Owns who waits in that lane and which rows were held lately; commits nothing itself.

import type { PoolClient } from "pg";
import { Refusal } from "../domain/refusal.ts";
import { encodeArray } from "./binary.ts";
import type { HeadRef } from "./load.ts";
import { headName } from "./workspace.ts";

/** Nothing was written: another transaction holds a row that was needed. */
export class HeldUp extends Refusal {
  constructor() {
    super("unavailable", "another server holds what this request needs; try again", { cause: "locked" });
  }
}

/** Whoever is tried apart waits for hardly anything: what is free needs no wait. */
const PATIENCE = "set local lock_timeout = 10";

const LOCK_INTENTS = {
  name: "intents_lock_of_held_up",
  text: "select id from intents where id = any($1::uuid[]) order by id for update skip locked",
};
const INTENTS = { name: "intents_of_held_up", text: "select id from intents where id = any($1::uuid[])" };
const NAMED_HEADS = `select namespace, scope, key from state_heads
    where (namespace, scope, key) in (select * from unnest($1::text[], $2::text[], $3::text[]))`;
const LOCK_HEADS = {
  name: "state_heads_lock_of_held_up",
  text: `${NAMED_HEADS} order by namespace, scope, key for update skip locked`,
};
const HEADS = { name: "state_heads_of_held_up", text: NAMED_HEADS };

/** Locks what is free, and tells the names of the locks that are not. A row that is only being inserted is not seen here. */
export async function lockWhatIsFree(
  client: PoolClient,
  intents: readonly string[],
  heads: readonly HeadRef[],
): Promise<Set<string>> {
  const names = async (query: { name: string; text: string }, values: Buffer[]): Promise<string[]> => {
    const { rows } = await client.query<{ id: string } & HeadRef>({ ...query, values });
    return rows.map((row) => row.id ?? headName(row.namespace, row.scope, row.key));
  };
  const ids = [encodeArray("uuid", intents)];
  const keys = (["namespace", "scope", "key"] as const).map((column) =>
    encodeArray(
      "text",
      heads.map((head) => head[column]),
    ),
  );
  const [, lockedIntents, allIntents, lockedHeads, allHeads] = await Promise.all([
    client.query(PATIENCE),
    names(LOCK_INTENTS, ids),
    names(INTENTS, ids),
    heads.length > 0 ? names(LOCK_HEADS, keys) : [],
    heads.length > 0 ? names(HEADS, keys) : [],
  ]);
  const locked = new Set([...lockedIntents, ...lockedHeads]);
  return new Set([...allIntents, ...allHeads].filter((name) => !locked.has(name)));
}

interface Waiting {
  readonly locks: readonly string[];
}

/** Who can go on and who cannot, in order: what stands behind somebody held up waits with him. */
export function partByLocks<E extends Waiting>(entries: readonly E[], busy: ReadonlySet<string>) {
  const taken = new Set(busy);
  const free: E[] = [];
  const heldUp: E[] = [];
  for (const entry of entries) {
    if (!entry.locks.some((lock) => taken.has(lock))) free.push(entry);
    else {
      heldUp.push(entry);
      for (const lock of entry.locks) taken.add(lock);
    }
  }
  return { free, heldUp };
}

const RETRY_MS = 100;
/** Who needs a row that was held so lately does not go with the others. */
const REMEMBER_MS = 10_000;

export interface SlowLaneOptions<E> {
  /** Tries these once; who is still held up is parked again. */
  readonly flush: (batch: readonly E[]) => Promise<void>;
  /** As many as may share a flush, at least one. */
  readonly take: (waiting: readonly E[]) => readonly E[];
  /** It has been answered. */
  readonly onLeft: (entry: E) => void;
}

export class SlowLane<E extends Waiting> {
  readonly #options: SlowLaneOptions<E>;
  #parked = new Set<E>();
  #trying = 0;
  #running = false;
  readonly #heldUntil = new Map<string, number>();
  #lastUntil = 0;

  constructor(options: SlowLaneOptions<E>) {
    this.#options = options;
  }

  get size(): number {
    return this.#parked.size + this.#trying;
  }

  /** Rows are held: more of them may be, by the same transaction. */
  get expectsMore(): boolean {
    return this.#heldUntil.size > 0 && performance.now() < this.#lastUntil;
  }

  /** Needs a row that was held a moment ago. */
  awaits(entry: E): boolean {
    if (this.#heldUntil.size === 0) return false;
    const now = performance.now();
    return entry.locks.some((lock) => (this.#heldUntil.get(lock) ?? 0) > now);
  }

  found(rows: { readonly free: Iterable<string>; readonly busy: Iterable<string> }): void {
    const until = performance.now() + REMEMBER_MS;
    for (const lock of rows.free) this.#heldUntil.delete(lock);
    for (const lock of rows.busy) {
      this.#heldUntil.set(lock, until);
      this.#lastUntil = until;
    }
  }

  park(entries: readonly E[]): void {
    for (const entry of entries) this.#parked.add(entry);
    if (!this.#running && this.#parked.size > 0) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#parked.size > 0) {
      await this.#round();
      if (this.#parked.size > 0) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    this.#running = false;
    const now = performance.now();
    for (const [lock, until] of this.#heldUntil) if (until < now) this.#heldUntil.delete(lock);
  }

  async #round(): Promise<void> {
    let rest: readonly E[] = [...this.#parked];
    this.#parked = new Set();
    this.#trying = rest.length;
    while (rest.length > 0) {
      const batch = this.#options.take(rest);
      rest = rest.slice(batch.length);
      await this.#options.flush(batch);
      this.#trying -= batch.length;
      for (const entry of batch) if (!this.#parked.has(entry)) this.#options.onLeft(entry);
    }
  }
}

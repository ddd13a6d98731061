// One transaction outside the group commit: for what locks consumers first (claim, connect, heartbeat, expiry).
// Lock order everywhere: consumers, then intents by id.

import type { PoolClient } from "pg";
import type { ClockRow } from "./clock.ts";
import { commitPipelined, proofOf, rollBack } from "./commit.ts";
import { isConflict, isLockTimeout, type Store, sendTogether } from "./connection.ts";
import { HeldUp } from "./held-up.ts";
import { type LoadRequest, load } from "./load.ts";
import { sendWrites } from "./persist.ts";
import { type Change, Workspace } from "./workspace.ts";

const CONFLICT_TRIES = 10;

export class Transaction {
  readonly client: PoolClient;
  #clock: ClockRow | undefined;
  #writes: Promise<unknown>[] = [];
  #work: Workspace | undefined;
  #failure: unknown;

  constructor(client: PoolClient) {
    this.client = client;
  }

  /** Sends a query at once; awaited or not, its failure fails the transaction. */
  query<Row>(query: { name: string; text: string }, values: unknown[]): Promise<Row[]> {
    sendTogether(this.client);
    const sent = this.client.query({ ...query, values }).then((result) => result.rows as Row[]);
    sent.catch((error) => {
      this.#failure ??= error;
    });
    this.#writes.push(sent);
    return sent;
  }

  /** What failed first: whatever was sent behind it fails too, and may be awaited earlier. */
  cause(error: unknown): unknown {
    return this.#failure ?? error;
  }

  async load(request: LoadRequest): Promise<Workspace> {
    sendTogether(this.client);
    const answer = await load(this.client, request);
    this.#clock = answer.clock;
    const work = new Workspace(answer.now);
    answer.fill(work);
    this.#work = work;
    return work;
  }

  /** Names this transaction, so that a lost COMMIT can be looked up. */
  identify(clock: ClockRow): void {
    this.#clock = clock;
  }

  /** Sends the workspace's writes; queries sent afterwards see them. */
  write(work: Workspace): void {
    this.#work = work;
    sendTogether(this.client);
    this.#writes.push(...sendWrites(this.client, work));
  }

  async commit(store: Store): Promise<Change[]> {
    if (this.#clock === undefined || this.#work === undefined) {
      await Promise.all([...this.#writes, this.client.query("commit")]);
    } else {
      await commitPipelined(store, this.client, this.#writes, proofOf(this.#clock.xid, this.#work));
      store.hotRows.follow(this.#work, this.#clock);
    }
    return this.#work?.changes() ?? [];
  }
}

/**
 * Runs `body` in a transaction and commits it; on a conflict the whole body runs again on fresh rows. Rejects with HeldUp when another
 * transaction holds a row for too long.
 */
export async function transact<T>(
  store: Store,
  body: (tx: Transaction) => Promise<T>,
): Promise<{ value: T; changes: Change[] }> {
  for (let tries = 0; ; tries += 1) {
    const client = await store.transactors.connect();
    const tx = new Transaction(client);
    let healthy = false;
    try {
      sendTogether(client);
      client.query("begin").catch(() => undefined);
      const value = await body(tx);
      const changes = await tx.commit(store);
      healthy = true;
      return { value, changes };
    } catch (thrown) {
      const error = tx.cause(thrown);
      if (isLockTimeout(error)) {
        healthy = await rollBack(client);
        throw new HeldUp();
      }
      if (!isConflict(error) || tries >= CONFLICT_TRIES) throw error;
    } finally {
      client.release(!healthy);
    }
  }
}

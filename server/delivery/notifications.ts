// Tells other replicas what changed here, and hears it from them. Only a hint: sent outside the data transaction
// (a NOTIFY inside one takes a database-wide commit lock), coalesced, and only while another replica lives.

import pg from "pg";
import { isClaimable } from "../domain/schedule.ts";
import type { Store } from "../store/connection.ts";
import type { Change } from "../store/workspace.ts";

const CHANNEL = "perdure_wake";
/** PostgreSQL refuses payloads of 8,000 bytes. */
const PAYLOAD_MAX = 7_500;
const RECONNECT_MS = 1_000;

interface Hint {
  /** The sender, so that nobody wakes itself. */
  readonly from: string;
  readonly intents: readonly string[];
  readonly addresses: readonly string[];
  /** Too much to name: look at everything. */
  readonly all?: boolean;
}

export interface NotificationOptions {
  readonly store: Store;
  readonly connectionString: string;
  readonly replicaId: string;
  readonly onIntent: (id: string) => void;
  readonly onAddress: (address: string) => void;
  readonly onAll: () => void;
  readonly onError: (error: unknown) => void;
}

export class Notifications {
  readonly #options: NotificationOptions;
  #others = 0;
  #intents = new Set<string>();
  #addresses = new Set<string>();
  #sending = false;
  #listener: pg.Client | null = null;
  #connecting = false;
  #stopped = false;

  constructor(options: NotificationOptions) {
    this.#options = options;
  }

  /** How many other replicas pulse: with none there is nobody to tell and nothing to hear. */
  setOthers(others: number): void {
    this.#others = others;
    if (others > 0) void this.#listen();
  }

  follow(changes: readonly Change[]): void {
    if (this.#others === 0 || this.#stopped) return;
    for (const { before, after } of changes) {
      this.#intents.add(after.id);
      if (isClaimable(after) && !(before !== null && isClaimable(before))) this.#addresses.add(after.toAgent);
    }
    void this.#send();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#listener?.end().catch(() => undefined);
  }

  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#intents.size > 0) {
        const hint: Hint = {
          from: this.#options.replicaId,
          intents: [...this.#intents],
          addresses: [...this.#addresses],
        };
        this.#intents.clear();
        this.#addresses.clear();
        let text = JSON.stringify(hint);
        if (Buffer.byteLength(text) > PAYLOAD_MAX)
          text = JSON.stringify({ from: hint.from, intents: [], addresses: [], all: true });
        await this.#options.store.pool.query("select pg_notify($1, $2)", [CHANNEL, text]);
      }
    } catch (error) {
      this.#options.onError(error);
    } finally {
      this.#sending = false;
    }
  }

  /** One connection of its own, outside the pool; a lost one is replaced, and the poll covers the gap. */
  async #listen(): Promise<void> {
    if (this.#listener !== null || this.#connecting || this.#stopped) return;
    this.#connecting = true;
    const client = new pg.Client({
      connectionString: this.#options.connectionString,
      keepAlive: true,
      application_name: "perdure-listen",
    });
    const lost = (error?: unknown) => {
      if (error !== undefined) this.#options.onError(error);
      if (this.#listener === client) this.#listener = null;
      if (!this.#stopped) setTimeout(() => void this.#listen(), RECONNECT_MS).unref();
    };
    client.on("error", lost);
    client.on("end", () => lost());
    client.on("notification", (message) => this.#hear(message.payload ?? ""));
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      this.#listener = client;
      // Whatever was said while nobody listened.
      this.#options.onAll();
    } catch (error) {
      lost(error);
    } finally {
      this.#connecting = false;
    }
  }

  #hear(payload: string): void {
    let hint: Hint;
    try {
      hint = JSON.parse(payload) as Hint;
    } catch {
      return;
    }
    if (hint.from === this.#options.replicaId) return;
    if (hint.all === true) {
      this.#options.onAll();
      return;
    }
    for (const id of hint.intents) this.#options.onIntent(id);
    for (const address of hint.addresses) this.#options.onAddress(address);
  }
}

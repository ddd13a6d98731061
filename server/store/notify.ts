// LISTEN and NOTIFY: what one replica says and all others hear. What is said, and what a lost connection means, is the caller's.

import pg from "pg";
import type { Store } from "./connection.ts";

/** Says it to everybody who listens on the channel, the sender too. PostgreSQL refuses payloads of 8,000 bytes. */
export async function notify(store: Store, channel: string, payload: string): Promise<void> {
  await store.pool.query("select pg_notify($1, $2)", [channel, payload]);
}

export interface ListenOptions {
  readonly connectionString: string;
  readonly channel: string;
  readonly onPayload: (payload: string) => void;
  /** Once it hears no more; it may be called more than once. */
  readonly onLost: (error?: unknown) => void;
}

export interface Listener {
  /** Resolves when everything that is said from now on is heard. */
  open(): Promise<void>;
  end(): Promise<void>;
}

/** A connection of its own, outside the pool: one that is handed back listens no more. It may be lost without a word at any moment. */
const CONNECT_TIMEOUT_MS = 5_000;
const END_TIMEOUT_MS = 1_000;

interface Connected {
  readonly connection: { readonly stream: { destroy(): void } };
}

export function createListener({ connectionString, channel, onPayload, onLost }: ListenOptions): Listener {
  const client = new pg.Client({
    connectionString,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
    application_name: "perdure-listen",
  });
  client.on("error", onLost);
  client.on("end", () => onLost());
  client.on("notification", (message) => onPayload(message.payload ?? ""));
  return {
    async open() {
      await client.connect();
      await client.query(`listen ${channel}`);
    },
    async end() {
      const { stream } = (client as unknown as Connected).connection;
      const late = setTimeout(() => stream.destroy(), END_TIMEOUT_MS);
      await client.end().finally(() => clearTimeout(late));
    },
  };
}

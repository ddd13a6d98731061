// Owns: reading and writing state over HTTP: one scope, its entries, their versions. Must not: know who works on which delivery.

import { pause } from "./abort.ts";
import { compact } from "./absent.ts";
import { jitter } from "./backoff.ts";
import { randomId } from "./environment.ts";
import { PerdureError } from "./errors.ts";
import type { Http } from "./http.ts";
import type { Wire } from "./intents.ts";
import { toJson } from "./json.ts";

/** One value at one version. `version` grows by one with every write of its key, removals included. */
export interface Entry<T = any> {
  key: string;
  value: T;
  version: number;
  /** ISO 8601, of the server's database clock. */
  updatedAt: string;
}

/** One write of a commit. `ifVersion`: the version it must have now; 0 that it must not exist. */
export interface StateWrite {
  key: string;
  value?: unknown;
  delete?: true;
  ifVersion?: number;
}

/**
 * JSON values by key, with their history, in the scope of an intent, a session or an agent. The server keeps JSON as it was written;
 * a JavaScript client reads numbers beyond 2^53 rounded.
 */
export interface State {
  /** The current value, or undefined when there is none. */
  get<T = any>(key: string): Promise<T | undefined>;
  /** The current entry, or the one of a version. */
  entry<T = any>(key: string, version?: number): Promise<Entry<T> | undefined>;
  /** Writes and answers the new version. Throws `version_conflict` when `ifVersion` is not the current one. */
  set(key: string, value: unknown, options?: { ifVersion?: number }): Promise<number>;
  /** Removes; the history stays. Removing what is not there is fine. */
  delete(key: string): Promise<void>;
  /** Reads, changes and writes, again when somebody else wrote in between. Answers what was written. */
  update<T>(key: string, change: (old: T | undefined) => T): Promise<T>;
  /** Entries by key, page by page as they are read. */
  list(prefix?: string): AsyncIterable<Entry>;
  /** The history of a key, the newest first; removals are left out. */
  versions(key: string): AsyncIterable<Entry>;
  /** All or nothing. */
  commit(writes: StateWrite[]): Promise<void>;
}

/** What a scope belongs to: `intent:ID`, `session:NAME` or `agent:ADDRESS`. */
export type StateScope = `${"intent" | "session" | "agent"}:${string}`;

/** On whose behalf, and how, this state is written. */
export interface StateAccess {
  /** Fields that go with every write: the intent and its attempt. */
  readonly behalf: Wire;
  /** Sends a write; an agent's learns from a refusal that its attempt is over. */
  write<T>(send: (signal: AbortSignal | undefined) => Promise<T>): Promise<T>;
  readonly signal: AbortSignal | undefined;
  /** An agent waits for a server that is away; a client gives up in the end. */
  readonly retry: "bounded" | "forever";
}

/** A client's own: nobody's attempt. */
export const FREE: StateAccess = {
  behalf: {},
  write: (send) => send(undefined),
  signal: undefined,
  retry: "bounded",
};

const UPDATE_TRIES = 100;
const PAGE_SIZE = 100;

export class HttpState implements State {
  readonly #http: Http;
  readonly #scope: string;
  readonly #access: StateAccess;

  constructor(http: Http, scope: string, access: StateAccess = FREE) {
    if (!/^(intent|session|agent):./.test(scope)) {
      throw new PerdureError(
        "validation_failed",
        `${JSON.stringify(scope)} is not a scope; write intent:ID, session:NAME or agent:ADDRESS`,
      );
    }
    this.#http = http;
    this.#scope = scope;
    this.#access = access;
  }

  async get<T = any>(key: string): Promise<T | undefined> {
    return (await this.entry<T>(key))?.value;
  }

  async entry<T = any>(key: string, version?: number): Promise<Entry<T> | undefined> {
    try {
      const answer = await this.#read(this.#path(key), { version });
      return answer.entry.deleted ? undefined : present<T>(answer.entry);
    } catch (error) {
      if (PerdureError.is(error, "state_not_found")) return undefined;
      throw error;
    }
  }

  async set(key: string, value: unknown, options: { ifVersion?: number } = {}): Promise<number> {
    const body = { value: jsonOf(value), ...compact({ if_version: options.ifVersion }) };
    const answer = await this.#write("PUT", this.#path(key), body);
    return answer.entry.version;
  }

  async delete(key: string): Promise<void> {
    await this.#write("DELETE", this.#path(key), {});
  }

  async update<T>(key: string, change: (old: T | undefined) => T): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      const entry = await this.entry<T>(key);
      const value = change(entry?.value);
      try {
        await this.set(key, value, { ifVersion: entry?.version ?? 0 });
        return value;
      } catch (error) {
        if (!PerdureError.is(error, "version_conflict") || tries === UPDATE_TRIES) throw error;
        await pause(jitter(Math.min(2_000, 10 * tries)), this.#access.signal ?? this.#http.closing);
      }
    }
  }

  async *list(prefix = ""): AsyncGenerator<Entry, void, void> {
    yield* this.#pages(this.#path(), { prefix: prefix === "" ? undefined : prefix }, "entries");
  }

  async *versions(key: string): AsyncGenerator<Entry, void, void> {
    yield* this.#pages(`${this.#path(key)}/versions`, {}, "versions");
  }

  async commit(writes: StateWrite[]): Promise<void> {
    if (writes.length === 0) return;
    await this.#write("POST", "/v1/state/commit", {
      writes: writes.map((write) => ({ scope: this.#scope, ...stateWriteToWire(write) })),
    });
  }

  async *#pages(
    path: string,
    query: Record<string, string | undefined>,
    list: string,
  ): AsyncGenerator<Entry, void, void> {
    let cursor: string | undefined;
    do {
      const answer = await this.#read(path, { ...query, limit: PAGE_SIZE, cursor });
      for (const entry of answer[list]) if (!entry.deleted) yield present(entry);
      cursor = answer.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  #path(key?: string): string {
    const scope = `/v1/state/${encodeURIComponent(this.#scope)}`;
    if (key === undefined) return scope;
    if (key === "" || key === "." || key === "..")
      throw new PerdureError("validation_failed", `${JSON.stringify(key)} cannot be a state key`);
    return `${scope}/${encodeURIComponent(key)}`;
  }

  #read(path: string, query: Record<string, string | number | undefined>): Promise<any> {
    const { signal, retry } = this.#access;
    return this.#http.send({ method: "GET", path, query, signal, retry });
  }

  /** The key makes it safe to repeat after a lost answer: a compare-and-set that won is not refused the second time. */
  #write(method: "PUT" | "DELETE" | "POST", path: string, body: Wire): Promise<any> {
    const idempotencyKey = randomId();
    const full = { ...body, ...this.#access.behalf };
    const { retry } = this.#access;
    return this.#access.write((signal) =>
      this.#http.send({ method, path, body: full, idempotencyKey, signal, retry }),
    );
  }
}

/** `undefined` is no JSON: removing is `delete`. */
function jsonOf(value: unknown): unknown {
  if (value === undefined)
    throw new PerdureError("validation_failed", "undefined is not a value; use null, or delete the key");
  return toJson(value);
}

export function stateWriteToWire({ key, value, delete: remove, ifVersion }: StateWrite): Wire {
  return {
    key,
    ...(remove ? { delete: true } : { value: jsonOf(value) }),
    ...compact({ if_version: ifVersion }),
  };
}

function present<T>(wire: Wire): Entry<T> {
  return { key: wire.key, value: wire.value as T, version: wire.version, updatedAt: wire.updated_at };
}

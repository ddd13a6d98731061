// Owns: sessions as an operator sees and steers them: the intents of one label as a group. Must not: know single intents.
import { compact } from "./absent.ts";
import { randomId } from "./environment.ts";
import { PerdureError } from "./errors.ts";
import type { Http } from "./http.ts";
import type { Status, Wire } from "./intents.ts";
import { pages } from "./pages.ts";

/** The intents that were sent with one session label. Times are ISO 8601. */
export interface Session {
  name: string;
  paused: boolean;
  createdAt: string;
  lastActivityAt: string;
  /** How many there are, and how many of each status. */
  intents: { total: number } & { [_ in Status]?: number };
}

/** A session as it is now, and how many of its intents this has changed. */
export interface SessionChange {
  session: Session;
  changed: number;
}

/** Reached as `client.sessions`. Every method may throw PerdureError, as the client's do; all but `list` throw `session_not_found`. */
export class Sessions {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** Sessions by name, page by page as they are read. */
  async *list(): AsyncGenerator<Session, void, void> {
    for await (const wire of pages(this.#http, "/v1/sessions", {}, "sessions")) yield presentSession(wire);
  }

  async get(name: string): Promise<Session> {
    const answer = await this.#http.send({ method: "GET", path: sessionPath(name) });
    return presentSession(answer.session);
  }

  /** No further step of its intents begins until `unpause`, nor of those sent to it meanwhile. */
  pause(name: string, options: { reason?: string } = {}): Promise<SessionChange> {
    return this.#verb(name, "pause", options);
  }

  /** Undoes `pause`. Intents that were paused one by one stay paused. */
  unpause(name: string, options: { reason?: string } = {}): Promise<SessionChange> {
    return this.#verb(name, "unpause", options);
  }

  /** Ends every intent of it that has not ended as CANCELED. */
  cancel(name: string, options: { reason?: string } = {}): Promise<SessionChange> {
    return this.#verb(name, "cancel", options);
  }

  /** Removes it with its intents and its state, and answers how many intents there were. Throws `session_active` while one has not ended. */
  async delete(name: string): Promise<number> {
    const idempotencyKey = randomId();
    const answer = await this.#http.send({ method: "DELETE", path: sessionPath(name), idempotencyKey });
    return answer.deleted;
  }

  async #verb(name: string, verb: string, { reason }: { reason?: string }): Promise<SessionChange> {
    const path = `${sessionPath(name)}/${verb}`;
    const body = compact({ reason });
    const answer = await this.#http.send({ method: "POST", path, body, idempotencyKey: randomId() });
    return { session: presentSession(answer.session), changed: answer.changed };
  }
}

function sessionPath(name: string): string {
  if (!name) throw new PerdureError("validation_failed", "a session's name is needed");
  return `/v1/sessions/${encodeURIComponent(name)}`;
}

function presentSession(wire: Wire): Session {
  const { name, paused, created_at: createdAt, last_activity_at: lastActivityAt, intents } = wire;
  return { name, paused, createdAt, lastActivityAt, intents };
}

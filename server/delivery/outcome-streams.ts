// The open streams of outcomes of this process, and which of them watches which intent. Only in memory: a client whose stream ends opens
// another one and says again what it waits for. Hints say what to look at; the sweep makes lost ones good.

import { randomUUID } from "node:crypto";
import { type Access, maySee } from "../domain/access.ts";
import { isTerminal } from "../domain/lifecycle.ts";
import { Refusal } from "../domain/refusal.ts";
import type { Engine } from "../engine/context.ts";
import { endedAmong, findStandings, type Standing } from "../store/queries/endings.ts";
import type { Change } from "../store/workspace.ts";
import type { FrameStream } from "./frame-stream.ts";
import { OutcomeStream, READING, type Watch } from "./outcome-stream.ts";

export interface OutcomeStreamsOptions {
  /** What the streams of one client may watch in all. */
  readonly watchesMax: number;
  readonly onError: (error: unknown) => void;
}

export interface WatchRequest {
  readonly intentIds: readonly string[];
  /** What is not waited for any more. */
  readonly forget: readonly string[];
  /** Told again with each outcome of these: it is no older than this request. */
  readonly mark: number;
  readonly access: Access;
}

const SWEPT_AT_ONCE = 1_000;
const ALONE_LOOKS = 12;

export class OutcomeStreams {
  readonly #engine: Engine;
  readonly #options: OutcomeStreamsOptions;
  readonly #streams = new Map<string, OutcomeStream>();
  /** By intent: the first of its watches, which leads to the others. */
  readonly #watches = new Map<string, Watch>();
  /** By client, over all of its streams. */
  readonly #counts = new Map<string, number>();
  #sweeping: Promise<number> | null = null;
  #sweepAgain = false;
  #others = 0;
  #looks = 0;

  constructor(engine: Engine, options: OutcomeStreamsOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  /** How many intents are watched, by all streams. */
  get size(): number {
    return this.#watches.size;
  }

  open(frames: FrameStream, whose: { readonly owner: string; readonly client: string }): OutcomeStream {
    const stream = new OutcomeStream({
      engine: this.#engine,
      watcher: randomUUID(),
      ...whose,
      frames,
      onToldOf: (watch) => this.#remove(watch),
      onError: this.#options.onError,
    });
    this.#streams.set(stream.watcher, stream);
    frames.onClose(() => this.#close(stream));
    return stream;
  }

  /** The stream of this name, for whoever opened it. */
  find(watcher: string, owner: string): OutcomeStream | undefined {
    const stream = this.#streams.get(watcher);
    return stream?.owner === owner && stream.frames.open ? stream : undefined;
  }

  /**
   * Adds to what a stream is told of, and answers what is not there. An intent that it watches already is watched anew: what is told of it
   * from now on is no older than this.
   */
  async watch(stream: OutcomeStream, request: WatchRequest): Promise<string[]> {
    const ids = [...new Set(request.intentIds)];
    for (const id of request.forget) this.#forget(stream, id);
    this.#requireRoom(stream, ids);
    for (const id of ids) this.#forget(stream, id);
    // Watched before it is read: an end between the two is noticed.
    const added = ids.map((id) => this.#add(stream, id, request.mark));
    try {
      const standings = await findStandings(this.#engine.store, ids);
      return added
        .filter((watch) => !this.#begin(watch, standings.get(watch.intentId), request.access))
        .map(idOf);
    } catch (error) {
      for (const watch of added) this.#remove(watch);
      throw error;
    }
  }

  /** What commits here have ended is told at once. */
  follow(changes: readonly Change[]): void {
    if (this.#watches.size === 0) return;
    const told = new Set<OutcomeStream>();
    for (const { after, outcome } of changes) {
      if (outcome === undefined) continue;
      this.#each(after.id, (watch) => {
        watch.stream.ended(watch, after.seq, outcome);
        told.add(watch.stream);
      });
    }
    for (const stream of told) stream.flush();
  }

  /** Another replica may have ended these. */
  hear(intentIds: readonly string[]): void {
    for (const id of intentIds) this.#each(id, (watch) => watch.stream.due(watch));
  }

  /** Another replica can end what is watched here without a word to us. */
  setOthers(others: number): void {
    this.#others = others;
  }

  /** One look of the poll: a sweep, but a rare one while no other replica could have ended anything. */
  async look(): Promise<number> {
    if (this.#watches.size === 0) return 0;
    this.#looks += 1;
    return this.#others > 0 || this.#looks % ALONE_LOOKS === 0 ? this.sweep() : 0;
  }

  /** Looks at everything that is watched. Answers how many have ended; a call during a pass leads to another one. */
  sweep(): Promise<number> {
    this.#sweepAgain = this.#sweeping !== null;
    this.#sweeping ??= this.#sweepAll().finally(() => {
      this.#sweeping = null;
    });
    return this.#sweeping;
  }

  async #sweepAll(): Promise<number> {
    let ended = 0;
    do {
      this.#sweepAgain = false;
      const ids = [...this.#watches.keys()];
      for (let from = 0; from < ids.length; from += SWEPT_AT_ONCE) {
        const some = await endedAmong(this.#engine.store, ids.slice(from, from + SWEPT_AT_ONCE));
        this.hear(some);
        ended += some.length;
      }
    } while (this.#sweepAgain);
    return ended;
  }

  /** False for what is not there, or out of sight. */
  #begin(watch: Watch, found: Standing | undefined, access: Access): boolean {
    if (found === undefined || !maySee(access, found)) {
      this.#remove(watch);
      return false;
    }
    // Watched anew meanwhile, or its stream is gone.
    if (!watch.stream.watches.has(watch)) return true;
    watch.stream.known(watch, found.seq);
    if (isTerminal(found.status)) watch.stream.due(watch);
    return true;
  }

  #requireRoom(stream: OutcomeStream, ids: readonly string[]): void {
    const { watchesMax } = this.#options;
    const watched = this.#counts.get(stream.client) ?? 0;
    if (watched + ids.length <= watchesMax) return;
    const more = ids.filter((id) => this.#find(stream, id) === undefined).length;
    if (watched + more <= watchesMax) return;
    throw new Refusal(
      "too_many_watches",
      `${watched} intents are watched by your streams of outcomes, and this server allows ${watchesMax} (PERDURE_WATCHES_PER_CLIENT_MAX); ask for the others one by one, with GET /v1/intents/{id}?wait=`,
    );
  }

  #add(stream: OutcomeStream, intentId: string, mark: number): Watch {
    const watch: Watch = { intentId, stream, mark, seq: READING, next: this.#watches.get(intentId) ?? null };
    this.#watches.set(intentId, watch);
    stream.watches.add(watch);
    this.#counts.set(stream.client, (this.#counts.get(stream.client) ?? 0) + 1);
    return watch;
  }

  #forget(stream: OutcomeStream, intentId: string): void {
    const watch = this.#find(stream, intentId);
    if (watch !== undefined) this.#remove(watch);
  }

  #find(stream: OutcomeStream, intentId: string): Watch | undefined {
    let watch = this.#watches.get(intentId);
    while (watch !== undefined && watch.stream !== stream) watch = watch.next ?? undefined;
    return watch;
  }

  /** Whoever is visited may be removed by that. */
  #each(intentId: string, visit: (watch: Watch) => void): void {
    for (let watch = this.#watches.get(intentId) ?? null; watch !== null; ) {
      const { next } = watch;
      visit(watch);
      watch = next;
    }
  }

  #remove(watch: Watch): void {
    const { intentId, stream, next } = watch;
    if (!stream.watches.has(watch)) return;
    stream.forget(watch);
    const left = (this.#counts.get(stream.client) ?? 1) - 1;
    if (left <= 0) this.#counts.delete(stream.client);
    else this.#counts.set(stream.client, left);
    const first = this.#watches.get(intentId);
    if (first === watch && next === null) this.#watches.delete(intentId);
    else if (first === watch && next !== null) this.#watches.set(intentId, next);
    else
      for (let one = first; one !== undefined; one = one.next ?? undefined)
        if (one.next === watch) one.next = next;
  }

  #close(stream: OutcomeStream): void {
    this.#streams.delete(stream.watcher);
    for (const watch of [...stream.watches]) this.#remove(watch);
  }
}

const idOf = (watch: Watch): string => watch.intentId;

// Tells other replicas what changed here, and hears it from them. Only a hint: sent outside the data transaction
// (a NOTIFY inside one takes a database-wide commit lock), coalesced, and only while another replica lives.

import { isTerminal } from "../domain/lifecycle.ts";
import { isClaimable } from "../domain/schedule.ts";
import type { Store } from "../store/connection.ts";
import { createListener, type Listener, notify } from "../store/notify.ts";
import type { LogRange } from "../store/queries/ranges.ts";
import type { Change } from "../store/workspace.ts";
import { holderFrames } from "./agent-streams.ts";
import type { Frame } from "./frame-stream.ts";
import { Hearing } from "./hearing.ts";

const CHANNEL = "perdure_wake";
/** PostgreSQL refuses payloads of 8,000 bytes. */
const PAYLOAD_MAX = 7_500;
/** What a notification holds besides what it names. */
const ENVELOPE_BYTES = 200;
const RECONNECT_MS = 1_000;
/** Characters of a reason that are told to another replica's agent; the log has all of it. */
const REASON_MAX = 200;

/** What the holder of an attempt has to be told by the replica that has its stream. */
interface Told {
  readonly consumerId: string;
  readonly frame: Frame;
}

interface Hint {
  /** The sender, so that nobody wakes itself. */
  readonly from: string;
  readonly intents: readonly string[];
  /** So many of them, the first ones, have ended. Not said by older replicas: any of them may have. */
  readonly ended?: number;
  /** What was written to their logs: the first and the last seq of each, in the order of `intents`. */
  readonly logs?: readonly (readonly [number, number])[];
  readonly addresses: readonly string[];
  readonly told?: readonly Told[];
  /** Too much to name: look at everything. */
  readonly all?: boolean;
}

export interface NotificationOptions {
  readonly store: Store;
  readonly connectionString: string;
  readonly replicaId: string;
  /** How often it is made sure that notifications arrive. */
  readonly proveEveryMs: number;
  readonly onIntent: (id: string) => void;
  readonly onEnded: (ids: readonly string[]) => void;
  readonly onLog: (range: LogRange) => void;
  readonly onAddress: (address: string) => void;
  /** Whether this consumer's stream is open here: then nobody else need be told. */
  readonly isHere: (consumerId: string) => boolean;
  readonly onTold: (consumerId: string, frame: Frame) => void;
  readonly onAll: () => void;
  readonly onError: (error: unknown) => void;
}

export class Notifications {
  readonly #options: NotificationOptions;
  #others = 0;
  /** With the first and the last seq that was written. */
  #intents = new Map<string, readonly [number, number]>();
  readonly #ended = new Set<string>();
  #addresses = new Set<string>();
  #told: Told[] = [];
  #sending = false;
  #listener: Listener | null = null;
  #connecting: Promise<void> | undefined;
  #stopped = false;
  readonly #hearing: Hearing;
  #onDeaf: (error?: Error) => void = () => undefined;

  constructor(options: NotificationOptions) {
    this.#options = options;
    this.#hearing = new Hearing({
      everyMs: options.proveEveryMs,
      say: async () => void (await this.#notify({ intents: [], addresses: [] })),
      onDeaf: (error) => this.#onDeaf(error),
    });
  }

  /** How many other replicas pulse: with none there is nobody to tell and nothing to hear. */
  setOthers(others: number): void {
    this.#others = others;
    if (others > 0) void this.#listen();
  }

  follow(changes: readonly Change[]): void {
    if (this.#others === 0 || this.#stopped) return;
    for (const change of changes) {
      const { before, after } = change;
      this.#name(change);
      // A place freed here, or an end told here, concerns nobody elsewhere.
      const holder = before?.consumerId ?? null;
      const elsewhere = holder !== null && !this.#options.isHere(holder);
      const freed = elsewhere && after.consumerId === null;
      if (freed || (isClaimable(after) && !(before !== null && isClaimable(before))))
        this.#addresses.add(after.toAgent);
      if (!elsewhere) continue;
      for (const frame of holderFrames(change))
        this.#told.push({ consumerId: holder, frame: shortened(frame) });
    }
    void this.#send();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#hearing.stop();
    await this.#connecting;
    await this.#listener?.end().catch(() => undefined);
  }

  #name(change: Change): void {
    const { id, status, seq } = change.after;
    this.#intents.set(id, [this.#intents.get(id)?.[0] ?? firstSeq(change), seq]);
    if (isTerminal(status)) this.#ended.add(id);
    else this.#ended.delete(id);
  }

  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#intents.size > 0) {
        const intents = [...this.#ended, ...[...this.#intents.keys()].filter((id) => !this.#ended.has(id))];
        const named = {
          intents,
          logs: intents.map((id) => this.#intents.get(id) as readonly [number, number]),
          ended: this.#ended.size,
          addresses: [...this.#addresses],
        };
        const told = this.#told.splice(0);
        this.#intents.clear();
        this.#ended.clear();
        this.#addresses.clear();
        for (const part of inParts(told)) await this.#notify({ intents: [], addresses: [], told: part });
        if (!(await this.#notify(named))) await this.#notify({ intents: [], addresses: [], all: true });
      }
    } catch (error) {
      this.#options.onError(error);
    } finally {
      this.#sending = false;
    }
  }

  /** False when it is too much for one notification. */
  async #notify(hint: Omit<Hint, "from">): Promise<boolean> {
    const text = JSON.stringify({ from: this.#options.replicaId, ...hint });
    if (Buffer.byteLength(text) > PAYLOAD_MAX) return false;
    await notify(this.#options.store, CHANNEL, text);
    return true;
  }

  /** One connection of its own, outside the pool; a lost one is replaced, and the poll covers the gap. */
  #listen(): Promise<void> {
    if (this.#listener !== null || this.#stopped) return Promise.resolve();
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #connect(): Promise<void> {
    const lost = (error?: unknown) => {
      if (error !== undefined) this.#options.onError(error);
      if (this.#listener === listener) {
        this.#listener = null;
        this.#hearing.stop();
      }
      if (!this.#stopped) setTimeout(() => void this.#listen(), RECONNECT_MS).unref();
    };
    const listener = createListener({
      connectionString: this.#options.connectionString,
      channel: CHANNEL,
      onPayload: (payload) => this.#hear(payload),
      onLost: lost,
    });
    try {
      await listener.open();
      this.#listener = listener;
      this.#onDeaf = (error) => {
        lost(error);
        void listener.end().catch(() => undefined);
      };
      this.#hearing.start();
      // Whatever was said while nobody listened.
      this.#options.onAll();
    } catch (error) {
      lost(error);
      await listener.end().catch(() => undefined);
    }
  }

  #hear(payload: string): void {
    let hint: Hint;
    try {
      hint = JSON.parse(payload) as Hint;
    } catch {
      return;
    }
    if (hint.from === this.#options.replicaId) {
      this.#hearing.heard();
      return;
    }
    if (hint.all === true) {
      this.#options.onAll();
      return;
    }
    for (const { consumerId, frame } of hint.told ?? []) this.#options.onTold(consumerId, frame);
    for (const [index, id] of hint.intents.entries()) {
      this.#options.onIntent(id);
      const [from, to] = hint.logs?.[index] ?? [0, -1];
      if (from <= to) this.#options.onLog({ intentId: id, from, to });
    }
    this.#options.onEnded(hint.intents.slice(0, hint.ended));
    for (const address of hint.addresses) this.#options.onAddress(address);
  }
}

/** Without entries of its own, what changed is behind the log's end. */
const firstSeq = ({ after, events }: Change): number => events[0]?.seq ?? after.seq + 1;

function shortened(frame: Frame): Frame {
  const data = frame.data as { readonly reason?: string };
  if (data.reason === undefined || data.reason.length <= REASON_MAX) return frame;
  return { ...frame, data: { ...data, reason: data.reason.slice(0, REASON_MAX) } };
}

/** Each part fits into one notification, whatever its reasons are made of. */
function inParts(told: readonly Told[]): Told[][] {
  const parts: Told[][] = [];
  let room = 0;
  for (const one of told) {
    const bytes = Buffer.byteLength(JSON.stringify(one)) + 1;
    if (bytes > room) {
      parts.push([]);
      room = PAYLOAD_MAX - ENVELOPE_BYTES;
    }
    parts.at(-1)?.push(one);
    room -= bytes;
  }
  return parts;
}

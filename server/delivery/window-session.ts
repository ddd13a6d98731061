// One window from its opening to its end: who comes (X1), what it is told, what its end owes. Whatever happens, its answer ends
// in order: its client gives up for good at a cut connection.

import type { Engine } from "../engine/context.ts";
import type { Waiting } from "../engine/windows.ts";
import type { FrameStream } from "./frame-stream.ts";
import type { DeliveryFrame } from "./frames.ts";
import type { OwedCursors } from "./owed-cursors.ts";
import type { OpenWindow, Windows } from "./windows.ts";

export interface WindowDeps {
  readonly engine: Engine;
  readonly windows: Windows;
  readonly owed: OwedCursors;
  readonly onError: (error: unknown) => void;
}

export interface WindowInput extends Omit<Waiting, "arrivedAt"> {
  readonly waitMs: number;
  /** False: nothing is handed out through it. Its client is kept waiting, and its place is kept. */
  readonly listens: boolean;
}

/** How soon the database is asked again who came, while it is away. */
const ASK_AGAIN_MS = 500;
/** A window that is over waits no longer for what may be on its way to it. */
const LAST_MS = 1_000;

class Session implements OpenWindow {
  readonly namespace: string;
  readonly address: string;
  readonly account: string;
  readonly since: number;
  readonly intentTypes: Waiting["intentTypes"];
  readonly wanted: Waiting["wanted"];
  arrivedAt: number | null = null;
  closing = false;
  readonly #deps: WindowDeps;
  readonly #frames: FrameStream;
  readonly #listens: boolean;
  readonly #cameAt = performance.now();
  /** It is known whether it was expected. */
  #arrived = false;
  #timers = new Set<NodeJS.Timeout>();

  constructor(deps: WindowDeps, input: WindowInput, frames: FrameStream) {
    this.#deps = deps;
    this.#frames = frames;
    this.#listens = input.listens;
    this.namespace = input.namespace;
    this.address = input.address;
    this.account = input.account;
    this.since = input.since;
    this.intentTypes = input.intentTypes;
    this.wanted = input.wanted;
    frames.onClose(() => this.#leave());
    frames.breathe();
    this.#after(input.waitMs, () => this.end());
    void this.#arrive();
  }

  tell(frame: DeliveryFrame): boolean {
    const told = this.#frames.send({ id: frame.seq, event: "intent.delivered", data: frame.data });
    // Its client reads the answer only once it has ended.
    this.#frames.end();
    return told;
  }

  /** The end without work, in order. */
  async end(): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    const { windows, owed } = this.#deps;
    await this.#within(LAST_MS, windows.settled(this.address));
    windows.close(this);
    if (!this.#frames.open) return;
    const { address, account, since: seq, arrivedAt } = this;
    await owed.owe({ address, account, seq, arrivedAt, unknownSince: this.#arrived ? null : this.#cameAt });
    this.#frames.send({ event: "stream.timeout", data: { ok: true, next_seq: this.since } });
    this.#frames.end();
  }

  async #arrive(): Promise<void> {
    const { engine, windows, owed } = this.#deps;
    if (this.closing || !this.#frames.open) return;
    try {
      const arrival = await owed.arrive(this, this.since, this.#cameAt);
      this.#arrived = true;
      this.arrivedAt = arrival.arrived_at;
      if (this.closing || !this.#frames.open || !this.#listens) return;
      windows.open(this);
      if (arrival.arrived_at === null) return;
      const left = engine.settings.windowedHoldOffMs - (arrival.now - arrival.arrived_at);
      this.#after(Math.max(0, left), () => this.#takeOver());
    } catch (error) {
      this.#deps.onError(error);
      this.#after(ASK_AGAIN_MS, () => this.#arrive());
    }
  }

  async #takeOver(): Promise<void> {
    if (this.closing || !this.#frames.open) return;
    if (await this.#deps.windows.takeOver(this)) return;
    this.#after(ASK_AGAIN_MS, () => this.#takeOver());
  }

  #leave(): void {
    this.closing = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#deps.windows.close(this);
  }

  #after(ms: number, then: () => Promise<void>): void {
    if (this.closing || !this.#frames.open) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void then();
    }, ms);
    this.#timers.add(timer);
  }

  async #within(ms: number, work: Promise<void>): Promise<void> {
    let late: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      late = setTimeout(resolve, ms);
    });
    await Promise.race([work, limit]);
    clearTimeout(late);
  }
}

/** Opens a window on frames that are open already, and answers how to end it before its time. */
export function openWindow(deps: WindowDeps, input: WindowInput, frames: FrameStream): () => void {
  const session = new Session(deps, input, frames);
  return () => void session.end();
}

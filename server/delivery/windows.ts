// The windows that are open here and wait for work: who of them gets what. At each address one thing happens at a time, so that
// they never compete with each other in this process. Woken by hints; the pulse makes lost ones good.

import type { Engine } from "../engine/context.ts";
import {
  claimForWindows,
  type HandedOut,
  handBack,
  takeOver,
  Unanswered,
  type Waiting,
  type WindowDelivery,
} from "../engine/windows.ts";
import { addressesWithWork } from "../store/claim.ts";
import { type DeliveryFrame, windowFrames } from "./frames.ts";
import type { Wakeups } from "./wakeups.ts";

export interface OpenWindow extends Waiting {
  /** Nothing more is claimed for one that is closing; what was on its way is still told. */
  readonly closing: boolean;
  /** What is left of its right to take over. */
  arrivedAt: number | null;
  /** False when nobody was there to be told any more. */
  tell(frame: DeliveryFrame): boolean;
}

interface Place {
  readonly windows: Set<OpenWindow>;
  readonly forgetWakes: () => void;
  /** What happens at this address, one after the other. */
  doing: Promise<void>;
  /** How much of that is not over yet. While it is, the place stays: two of one address would hand out to the same window. */
  tasks: number;
  /** A look is planned and has not begun. */
  planned: boolean;
}

/** One transaction hands out so many. */
const AT_ONCE = 50;
/** What others hold just now may be free again without a word. */
const CONTESTED_MS = 50;
const RETRY_MS = 250;
const TAKE_BACK_MS = 1_000;

export class Windows {
  readonly #engine: Engine;
  readonly #wakeups: Wakeups;
  readonly #onError: (error: unknown) => void;
  readonly #places = new Map<string, Place>();
  #stopped = false;

  constructor(engine: Engine, wakeups: Wakeups, onError: (error: unknown) => void) {
    this.#engine = engine;
    this.#wakeups = wakeups;
    this.#onError = onError;
  }

  /** How many wait at an address. */
  count(address: string): number {
    return this.#places.get(address)?.windows.size ?? 0;
  }

  open(window: OpenWindow): void {
    const { address } = window;
    const place = this.#places.get(address) ?? this.#begin(address);
    place.windows.add(window);
    this.#plan(address);
  }

  /** Nothing is handed to it any more, except what is being handed out at this moment. */
  close(window: OpenWindow): void {
    this.#places.get(window.address)?.windows.delete(window);
    this.#leave(window.address);
  }

  #leave(address: string): void {
    const place = this.#places.get(address);
    if (place === undefined || place.windows.size > 0 || place.tasks > 0) return;
    place.forgetWakes();
    this.#places.delete(address);
  }

  /** What is under way at an address is over. */
  settled(address: string): Promise<void> {
    return this.#places.get(address)?.doing ?? Promise.resolve();
  }

  /** Takes over what went out before this newcomer came. True: its right is settled, whatever came of it. */
  async takeOver(window: OpenWindow): Promise<boolean> {
    let settled = false;
    await this.#do(window.address, async () => {
      // What is new comes first.
      await this.#handOut(window.address);
      if (this.#stopped || window.closing || !this.#isWaiting(window)) return;
      const taken = await takeOver(this.#engine, window);
      window.arrivedAt = null;
      settled = true;
      if (typeof taken !== "string") await this.#tell([taken]);
    });
    return settled;
  }

  /** No further claims; resolves when those under way are over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#places.values()].map((place) => place.doing));
  }

  #begin(address: string): Place {
    const place: Place = {
      windows: new Set(),
      forgetWakes: this.#wakeups.addresses.on(address, () => this.#plan(address)),
      doing: Promise.resolve(),
      tasks: 0,
      planned: false,
    };
    this.#places.set(address, place);
    return place;
  }

  #isWaiting(window: OpenWindow): boolean {
    return this.#places.get(window.address)?.windows.has(window) === true;
  }

  #plan(address: string, ms = 0): void {
    const place = this.#places.get(address);
    if (place === undefined || this.#stopped) return;
    if (ms > 0) {
      setTimeout(() => this.#plan(address), ms).unref();
      return;
    }
    // A wake in the middle of a look asks for another one behind it.
    if (place.planned) return;
    place.planned = true;
    void this.#do(address, async () => {
      place.planned = false;
      await this.#handOut(address);
    });
  }

  /** Behind what is being done there already. Never rejects. */
  #do(address: string, task: () => Promise<void>): Promise<void> {
    const place = this.#places.get(address);
    if (place === undefined) return Promise.resolve();
    place.tasks += 1;
    place.doing = place.doing
      .then(task)
      .catch((error) => {
        this.#onError(error);
        if (error instanceof Unanswered) this.#takeBack(error.perhaps);
        this.#plan(address, RETRY_MS);
      })
      .then(() => {
        place.tasks -= 1;
        this.#leave(address);
      });
    return place.doing;
  }

  async #handOut(address: string): Promise<void> {
    for (;;) {
      const waiting = [...(this.#places.get(address)?.windows ?? [])].filter((one) => !one.closing);
      if (waiting.length === 0 || this.#stopped) return;
      if (!(await addressesWithWork(this.#engine.store, [address])).has(address)) return;
      const claim = await claimForWindows(this.#engine, waiting.slice(0, AT_ONCE));
      await this.#tell(claim.delivered);
      if (claim.delivered.length > 0) continue;
      if (claim.contested) this.#plan(address, CONTESTED_MS);
      return;
    }
  }

  async #tell(deliveries: readonly WindowDelivery<OpenWindow>[]): Promise<void> {
    if (deliveries.length === 0) return;
    for (const { to } of deliveries) this.close(to);
    const frames = await windowFrames(this.#engine, deliveries);
    for (const delivery of deliveries) {
      const frame = frames.get(delivery.intentId);
      if (frame !== undefined && delivery.to.tell(frame)) continue;
      this.#takeBack([delivery]);
    }
  }

  /** Nobody was told of these, and nobody would ask for them before their leases are over: repeated until it is done. */
  #takeBack(deliveries: readonly HandedOut[]): void {
    for (const delivery of deliveries)
      handBack(this.#engine, delivery).catch((error) => {
        this.#onError(error);
        if (!this.#stopped) setTimeout(() => this.#takeBack([delivery]), TAKE_BACK_MS).unref();
      });
  }
}

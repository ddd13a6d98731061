// Brings the queue's head to the streams open here: one claim at a time for everyone who has room, so that
// claims never compete with each other in this process. Woken by commits; the poll makes lost hints good.

import type { Intent } from "../domain/intent.ts";
import { isClaimable } from "../domain/schedule.ts";
import { claimIntents } from "../engine/claim.ts";
import type { Engine } from "../engine/context.ts";
import { addressesWithWork } from "../store/claim.ts";
import type { Change, HandOver } from "../store/workspace.ts";
import type { AgentStream, AgentStreams } from "./agent-streams.ts";
import { buildFrames, firstFrame } from "./frames.ts";
import type { Wakeups } from "./wakeups.ts";

export interface DispatcherOptions {
  readonly onError: (error: unknown) => void;
}

const RETRY_MS = 250;
const CONTESTED_MIN_MS = 5;
const CONTESTED_MAX_MS = 500;

export class Dispatcher {
  readonly #engine: Engine;
  readonly #streams: AgentStreams;
  readonly #wakeups: Wakeups;
  readonly #options: DispatcherOptions;
  readonly #dirty = new Set<string>();
  /** Asked for by more than a local commit: here the database says who has room, not our estimate. */
  readonly #doubted = new Set<string>();
  /** Addresses whose heads others hold: how long the next look waits, and whether it is planned. */
  readonly #contested = new Map<string, { waitMs: number; planned: boolean }>();
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(engine: Engine, streams: AgentStreams, wakeups: Wakeups, options: DispatcherOptions) {
    this.#engine = engine;
    this.#streams = streams;
    this.#wakeups = wakeups;
    this.#options = options;
    wakeups.observe((changes) => this.#follow(changes));
  }

  /** Something may be claimable at this address. What another replica ended never reached our estimates: ask. */
  wake(address: string): void {
    this.#doubted.add(address);
    this.#hint(address);
  }

  wakeAll(): void {
    for (const address of this.#streams.addresses()) this.wake(address);
    this.#wakeups.addresses.wakeAll();
  }

  /** No further claims; resolves when the one under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#dirty.clear();
    await this.#running;
  }

  #follow(changes: readonly Change[]): void {
    const addresses = new Set<string>();
    for (const { before, after, handedOver } of changes) {
      if (handedOver !== undefined) this.#handOver(after, handedOver);
      const freed = before !== null && before.consumerId !== null && after.consumerId === null;
      if (freed || (isClaimable(after) && !(before !== null && isClaimable(before))))
        addresses.add(after.toAgent);
    }
    for (const address of addresses) this.#hint(address);
  }

  #handOver(intent: Intent, handed: HandOver): void {
    if (intent.consumerId === null) return;
    const frame = firstFrame(this.#engine, intent, handed);
    this.#streams.deliver(intent.consumerId, handed.streamNo, frame);
  }

  #hint(address: string): void {
    this.#wakeups.addresses.wake(address);
    if (this.#stopped || this.#streams.at(address).length === 0) {
      this.#doubted.delete(address);
      return;
    }
    this.#dirty.add(address);
    this.#start();
  }

  #start(): void {
    if (this.#running !== null) return;
    this.#running = this.#run()
      .catch((error) => this.#later(error))
      .finally(() => {
        this.#running = null;
        if (this.#dirty.size > 0 && !this.#stopped) this.#start();
      });
  }

  #later(error: unknown): void {
    this.#options.onError(error);
    // The poll would do, a little later; this only shortens a hiccup.
    setTimeout(() => this.wakeAll(), RETRY_MS).unref();
  }

  async #run(): Promise<void> {
    while (this.#dirty.size > 0 && !this.#stopped) {
      const addresses = [...this.#dirty];
      this.#dirty.clear();
      const free = addresses.flatMap((address) => this.#candidates(address));
      if (free.length === 0) continue;
      const withWork = await addressesWithWork(this.#engine.store, [
        ...new Set(free.map((stream) => stream.address)),
      ]);
      const open = free.filter((stream) => withWork.has(stream.address));
      if (open.length === 0) continue;
      const moves = open.map((stream) => stream.moves);
      const answer = await claimIntents(
        this.#engine,
        open.map((stream) => ({
          consumerId: stream.consumerId,
          streamNo: stream.streamNo,
          want: stream.capacity,
        })),
      );
      this.#lookAgain(addresses, answer.contested);
      if (answer.delivered.length === 0) {
        open.forEach((stream, index) => {
          this.#streams.believe(stream, moves[index] ?? 0, answer.held.get(stream.consumerId) ?? 0);
        });
        continue;
      }
      await this.#send(open, answer.delivered);
      // A full haul may have left more behind.
      for (const address of addresses) this.#dirty.add(address);
    }
  }

  /** Whoever holds a head lets go of it without a word to us, usually at once. */
  #lookAgain(asked: readonly string[], contested: readonly string[]): void {
    for (const address of asked) if (!contested.includes(address)) this.#contested.delete(address);
    for (const address of new Set(contested)) {
      const look = this.#contested.get(address) ?? { waitMs: CONTESTED_MIN_MS, planned: false };
      this.#contested.set(address, look);
      if (look.planned) continue;
      look.planned = true;
      setTimeout(() => {
        look.planned = false;
        if (this.#stopped || this.#contested.get(address) !== look) return;
        this.#dirty.add(address);
        this.#start();
      }, look.waitMs).unref();
      look.waitMs = Math.min(look.waitMs * 2, CONTESTED_MAX_MS);
    }
  }

  #candidates(address: string): AgentStream[] {
    const doubted = this.#doubted.delete(address);
    return this.#streams
      .at(address)
      .filter((stream) => stream.frames.open && stream.capacity > (doubted ? 0 : stream.held));
  }

  async #send(
    open: readonly AgentStream[],
    delivered: Awaited<ReturnType<typeof claimIntents>>["delivered"],
  ): Promise<void> {
    const streamNo = new Map(open.map((stream) => [stream.consumerId, stream.streamNo]));
    const consumerOf = new Map(delivered.map((one) => [one.intentId, one.consumerId]));
    try {
      for (const frame of await buildFrames(this.#engine, delivered)) {
        const consumerId = consumerOf.get(frame.intentId) ?? "";
        this.#streams.deliver(consumerId, streamNo.get(consumerId) ?? -1, frame);
      }
    } catch (error) {
      // Not a lost agent, but without heartbeats it would never hear of its work: the next connect makes it good.
      for (const consumerId of new Set(consumerOf.values()))
        this.#streams.end(consumerId, "database", streamNo.get(consumerId));
      throw error;
    }
  }
}

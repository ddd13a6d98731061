// Owns: one listening agent: its life from connecting to stopped, and where frames and heartbeat answers go. Must not: run handlers itself.
import { within } from "./abort.ts";
import { AgentWrites } from "./agent-writes.ts";
import { Connection, isFinal } from "./connection.ts";
import type { Delivery, HeartbeatAnswer, Held, StreamOpen } from "./deliveries.ts";
import { type Duration, describeMs, toMs, toSeconds } from "./duration.ts";
import { defaultConsumerName, randomId } from "./environment.ts";
import { PerdureError } from "./errors.ts";
import { Heartbeats } from "./heartbeats.ts";
import { Holdings } from "./holdings.ts";
import type { Http } from "./http.ts";
import type { Wire } from "./intents.ts";
import type { Logger } from "./logger.ts";
import { drainOnSignals } from "./process-signals.ts";
import { type HandedBack, Run, type Work } from "./run.ts";

export interface ListenOptions {
  /** Intents at work at once. Default 1. */
  capacity?: number;
  /** This process's name among the address's consumers; two live processes may not share one. Default `host-pid-random`. */
  consumer?: string;
  /** How long the server waits for a silent agent before it delivers elsewhere. Default 30 s. */
  lease?: Duration;
  /** Drain on SIGINT and SIGTERM, then end the process; a second signal ends it at once. Default true. */
  handleSignals?: boolean;
  /** How long `stop` waits for the steps at work. Default 30 s. */
  drainTimeout?: Duration;
  /** Take only these types. Default all. */
  intentTypes?: string[];
}

/** A listening agent. */
export interface AgentHandle {
  readonly address: string;
  readonly consumer: string;
  readonly state: "connecting" | "listening" | "draining" | "stopped";
  /** What is at work now. */
  readonly active: readonly { id: string; attempt: number; step?: string }[];
  /** Resolves when the server has accepted this agent for the first time. */
  readonly ready: Promise<void>;
  /**
   * Resolves after `stop`. Rejects with PerdureError when the server refuses this agent for good: 401, 403, a malformed request, or
   * `consumer_superseded`. Handle it: an unhandled rejection ends the process, as it should when it may no longer work.
   */
  readonly closed: Promise<void>;
  /** Takes nothing new, finishes the steps at work (up to `timeout`, default the drain timeout), hands back and answers what was saved. */
  stop(options?: { timeout?: Duration }): Promise<{ handedBack: HandedBack[] }>;
}

export interface AgentSetup {
  http: Http;
  logger: Logger;
  address: string;
  work: Work;
  options: ListenOptions;
  onStopped: () => void;
}

const DEFAULT_DRAIN_MS = 30_000;
/** Telling the server that nothing new may come is worth this long, and no longer: hand-backs must not wait for a server that is away. */
const ANNOUNCE_MS = 2_000;
/** A delivery the server counts as ours may be on its way through the stream: asking for it can wait a moment. */
const FETCH_DELAY_MS = 250;

export class Agent implements AgentHandle {
  readonly address: string;
  readonly consumer: string;
  readonly ready: Promise<void>;
  readonly closed: Promise<void>;
  readonly logger: Logger;
  #state: AgentHandle["state"] = "connecting";
  /** The same over reconnects: it proves that this process, not another of its name, comes back. */
  readonly #incarnation = randomId();
  readonly #setup: AgentSetup;
  readonly #holdings = new Holdings();
  readonly #fetching = new Set<string>();
  readonly #handedBack: HandedBack[] = [];
  readonly #connection: Connection;
  readonly #heartbeats: Heartbeats;
  readonly #forgetSignals: () => void;
  #stopping: Promise<{ handedBack: HandedBack[] }> | undefined;
  #onReady!: () => void;
  #onNeverReady!: (error: unknown) => void;
  #onClosed!: () => void;
  #onRefused!: (error: unknown) => void;

  constructor(setup: AgentSetup) {
    const { http, logger, address, options } = setup;
    this.#setup = setup;
    this.address = address;
    this.logger = logger;
    this.consumer = options.consumer ?? defaultConsumerName();
    const { capacity = 1 } = options;
    if (!Number.isInteger(capacity) || capacity < 1)
      throw new PerdureError("validation_failed", "capacity must be a whole number of 1 or more");
    const leaseSeconds = options.lease === undefined ? undefined : toSeconds(options.lease);
    this.ready = new Promise((resolve, reject) => {
      this.#onReady = resolve;
      this.#onNeverReady = reject;
    });
    this.ready.catch(() => undefined); // `closed` rejects with the same; one unhandled rejection is enough
    this.closed = new Promise((resolve, reject) => {
      this.#onClosed = resolve;
      this.#onRefused = reject;
    });
    this.#heartbeats = new Heartbeats(http, {
      ask: () => ({
        incarnation: this.#incarnation,
        holding: this.#holdings.holding(),
        capacity: this.#draining ? 0 : capacity,
      }),
      onAnswer: (asked, answer) => this.#onHeartbeat(asked, answer),
      onRefused: (error) => this.#onHeartbeatRefused(error),
      onStandstill: (ms) =>
        logger.warn(
          `this process stood still for ${describeMs(ms)} and sent no heartbeat; work that computes for so long belongs in a worker thread or a process of its own, or listen with a longer lease`,
        ),
    });
    this.#connection = new Connection(http, logger, streamPath(address), {
      query: () => ({
        consumer: this.consumer,
        incarnation: this.#incarnation,
        capacity,
        lease_ttl_seconds: leaseSeconds,
        intent_types: options.intentTypes?.join(","),
        ack: "explicit",
      }),
      onFrame: (event, data) => this.#onFrame(event, data),
    });
    this.#forgetSignals = options.handleSignals === false ? () => undefined : drainOnSignals(this);
    this.#connection.run().catch((error: unknown) => this.#refused(error));
  }

  get state(): AgentHandle["state"] {
    return this.#state;
  }

  get active(): readonly { id: string; attempt: number; step?: string }[] {
    return this.#holdings.runs.map(({ attempt, currentStep }) => ({
      id: attempt.id,
      attempt: attempt.number,
      ...(currentStep === undefined ? {} : { step: currentStep }),
    }));
  }

  stop(options: { timeout?: Duration } = {}): Promise<{ handedBack: HandedBack[] }> {
    this.#stopping ??= this.#drain(
      toMs(options.timeout ?? this.#setup.options.drainTimeout ?? DEFAULT_DRAIN_MS),
    );
    return this.#stopping;
  }

  get #draining(): boolean {
    return this.#state === "draining" || this.#state === "stopped";
  }

  async #drain(timeoutMs: number): Promise<{ handedBack: HandedBack[] }> {
    if (this.#state === "stopped") return { handedBack: this.#handedBack };
    this.#state = "draining";
    for (const run of this.#holdings.runs) run.attempt.windDown("draining");
    // Capacity 0 before the first hand-back, or the server gives it right back to us.
    const drained = within(ANNOUNCE_MS, this.#heartbeats.beat()).then(() => this.#holdings.idle());
    await within(timeoutMs, drained);
    await Promise.all(this.#holdings.runs.map((run) => run.handBackNow()));
    this.#close();
    this.#onClosed();
    return { handedBack: this.#handedBack };
  }

  #close(): void {
    this.#state = "stopped";
    this.#heartbeats.stop();
    this.#connection.stop();
    this.#forgetSignals();
    this.#onNeverReady(new PerdureError("client_closed", "the agent stopped before it was connected"));
    this.#setup.onStopped();
  }

  /** No new try would change this: whatever is held belongs to somebody else, or can no longer be written. */
  #refused(error: unknown): void {
    if (this.#state === "stopped") return;
    this.logger.error(
      `the agent at ${this.address} has to stop: ${error instanceof Error ? error.message : String(error)}`,
    );
    this.#onNeverReady(error);
    for (const run of this.#holdings.runs) run.attempt.end("the agent has to stop");
    this.#close();
    this.#onRefused(error);
  }

  #onHeartbeatRefused(error: PerdureError): void {
    if (isFinal(error)) this.#refused(error);
    else this.#connection.reconnect();
  }

  #onFrame(event: string, data: Wire): void {
    const held = data as Held & { status?: string; reason?: string };
    if (event === "stream.open") this.#onOpen(data as StreamOpen);
    else if (event === "intent.delivered") this.#onDelivery(data as Delivery);
    else if (event === "intent.canceled")
      this.#holdings.end(held, held.reason ?? held.status ?? "canceled", "info");
    else if (event === "intent.lost") this.#holdings.end(held, held.reason ?? "lost");
    else if (event === "intent.paused") this.#holdings.pause(held);
    // stream.drain needs no answer: the server ends the stream itself, which keeps the whole lease; our closing it would not.
  }

  #onOpen(open: StreamOpen): void {
    if (this.#state === "connecting") this.#state = "listening";
    this.#onReady();
    this.#heartbeats.begin(open.consumer_id, open.heartbeat_interval_ms);
  }

  #onHeartbeat(asked: readonly Held[], answer: HeartbeatAnswer): void {
    for (const missed of this.#holdings.reconcile(asked, answer)) void this.#fetch(missed, FETCH_DELAY_MS);
  }

  #onDelivery(delivery: Delivery): void {
    const { intent_id, attempt } = delivery;
    if (this.#state === "stopped" || this.#holdings.knows(intent_id, attempt)) return;
    if (delivery.fetch) void this.#fetch(delivery, 0);
    else if (this.#draining) void this.#giveBack(delivery);
    else this.#begin(delivery);
  }

  #begin(delivery: Delivery): void {
    const { http, work, logger } = this.#setup;
    const run = new Run(delivery, work, http, logger, {
      onOver: (over, known) => this.#holdings.remove(over, known),
      onHandedBack: (handedBack) => this.#handedBack.push(handedBack),
      onRefusedKey: (error) => this.#refused(error),
    });
    this.#holdings.add(run);
  }

  async #fetch(held: Held, delayMs: number): Promise<void> {
    const key = `${held.intent_id}:${held.attempt}`;
    if (this.#fetching.has(key)) return;
    this.#fetching.add(key);
    try {
      if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
      if (this.#state === "stopped" || this.#holdings.knows(held.intent_id, held.attempt)) return;
      const path = `/v1/intents/${encodeURIComponent(held.intent_id)}/delivery`;
      const answer = await this.#setup.http.send({ method: "GET", path, query: { attempt: held.attempt } });
      this.#onDelivery({ ...answer.delivery, fetch: false });
    } catch (error) {
      // Gone meanwhile, or the server is: it says again at the next heartbeat what it counts as ours.
      this.logger.debug(`cannot fetch delivery ${key}`, error);
    } finally {
      this.#fetching.delete(key);
    }
  }

  /** Came while draining: it goes back as it came. */
  async #giveBack(delivery: Delivery): Promise<void> {
    const writes = new AgentWrites(this.#setup.http, delivery.intent_id, delivery.attempt);
    await within(ANNOUNCE_MS, writes.release({ reason: "draining" }, this.#setup.http.closing)).catch(
      () => undefined,
    );
  }
}

/** The address as one path segment. */
function streamPath(address: string): string {
  if (!address)
    throw new PerdureError(
      "validation_failed",
      "listen needs an address, such as agent://org/workspace/name",
    );
  return `/v1/agents/${encodeURIComponent(address.replace(/^agent:\/\//, ""))}/intents/stream`;
}

// Owns: whether this process may still work on one delivery: open, to be handed back, or over. Must not: run handlers.
// Nothing local ends an attempt for good but the server's word: a lease outlives a server that is away.
import { PerdureError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import { realTimers, type Timers } from "./timers.ts";

/** Refusals that say: this attempt is not yours any more. */
const ENDED_CODES: ReadonlySet<string> = new Set([
  "stale_attempt",
  "intent_terminal",
  "already_finished",
  "not_delivered",
  "not_found",
  "consumer_superseded",
  // of intents sent as its children
  "parent_terminal",
  "parent_not_found",
]);

export type HandBackReason = "draining" | "paused" | "in_doubt" | "plan_changed";

export interface AttemptHooks {
  /** The attempt is over; called once. */
  onOver(): void;
  /** The key is refused: no further work makes sense in this process. */
  onRefusedKey(error: PerdureError): void;
}

export class Attempt {
  readonly id: string;
  readonly number: number;
  readonly intentType: string;
  /** Aborts when the attempt is over; the user's `ctx.signal`. */
  readonly signal: AbortSignal;
  /** Of everything that is waited for while this attempt works. */
  readonly timers: Timers;
  /** Begun for us, but never run: a hand-back un-begins them. */
  readonly notRun = new Set<string>();
  /** The handler was told to unwind, so what it returns is not its result. */
  unwound = false;
  #handBack: HandBackReason | undefined;
  #finished = false;
  readonly #over = new AbortController();
  /** Made when something waits for it: most attempts wait for nothing. */
  #winding: AbortController | undefined;
  readonly #logger: Logger;
  readonly #hooks: AttemptHooks;

  constructor(
    delivery: { id: string; attempt: number; intentType: string },
    logger: Logger,
    hooks: AttemptHooks,
    timers: Timers = realTimers,
  ) {
    this.timers = timers;
    this.id = delivery.id;
    this.number = delivery.attempt;
    this.intentType = delivery.intentType;
    this.#logger = logger;
    this.#hooks = hooks;
    this.signal = this.#over.signal;
  }

  /** Aborts as soon as no new step may begin: cuts waits between tries short. */
  get winding(): AbortSignal {
    if (this.#winding === undefined) {
      this.#winding = new AbortController();
      this.#cutWaits();
    }
    return this.#winding.signal;
  }

  get over(): boolean {
    return this.#over.signal.aborted;
  }

  get handBack(): HandBackReason | undefined {
    return this.#handBack;
  }

  /** The attempt ended and was not ended by us: lost, canceled, or judged by somebody else. */
  end(why: string, level: "info" | "warn" = "warn"): void {
    if (this.over) return;
    this.#logger[level](`${this.intentType} ${this.id}: attempt ${this.number} is over (${why}); stopping`);
    this.close(why);
  }

  /** The attempt ended by our own doing, or nobody needs to read of it. */
  close(why: string): void {
    if (this.over) return;
    const error = new PerdureError("attempt_ended", `attempt ${this.number} of ${this.id} is over: ${why}`);
    this.#over.abort(error);
    this.#cutWaits();
    this.#hooks.onOver();
  }

  /** From now on no step begins; what runs may finish and be recorded, then the intent goes back. */
  windDown(reason: HandBackReason): void {
    if (this.over || this.#handBack !== undefined) return;
    this.#handBack = reason;
    this.#cutWaits();
  }

  /** The handler has settled: nothing new may begin, what runs may still be recorded. */
  finish(): void {
    this.#finished = true;
    this.#cutWaits();
  }

  /** Throws unless a new step may begin. */
  gate(): void {
    if (this.over) throw this.#over.signal.reason;
    if (this.#handBack !== undefined) throw this.#unwind();
    if (this.#finished) throw this.#finishedError();
  }

  /** Sends a fenced write and learns from its refusal. Throws `attempt_ended` or `handing_back` for those. */
  async write<T>(send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.over) throw this.#over.signal.reason;
    try {
      return await send(this.signal);
    } catch (error) {
      if (this.over) throw this.#over.signal.reason;
      if (!PerdureError.is(error)) throw error;
      if (ENDED_CODES.has(error.code)) {
        this.end(error.message, this.#handBack === undefined ? "warn" : "info");
        throw this.#over.signal.reason;
      }
      if (error.code === "intent_paused") {
        this.windDown("paused");
        throw this.#unwind();
      }
      if (error.code === "plan_changed") {
        this.#logger.error(`${this.intentType} ${this.id}: ${error.message}; handing it back`);
        this.windDown("plan_changed");
        throw this.#unwind();
      }
      if (error.status === 401 || error.status === 403) this.#hooks.onRefusedKey(error);
      throw error;
    }
  }

  #cutWaits(): void {
    if (this.#winding === undefined || this.#winding.signal.aborted) return;
    if (this.over) this.#winding.abort(this.#over.signal.reason);
    else if (this.#handBack !== undefined) this.#winding.abort(this.#handBackError());
    else if (this.#finished) this.#winding.abort(this.#finishedError());
  }

  #unwind(): PerdureError {
    this.unwound = true;
    return this.#handBackError();
  }

  #finishedError(): PerdureError {
    return new PerdureError(
      "attempt_ended",
      `the handler of ${this.id} has already returned; await every ctx.step before that`,
    );
  }

  #handBackError(): PerdureError {
    return new PerdureError(
      "handing_back",
      `${this.id} is being handed back (${this.#handBack}); let this error through`,
    );
  }
}

/** Whether the error is the SDK's own way to unwind a handler, not the handler's failure. */
export function isUnwinding(error: unknown): boolean {
  return PerdureError.is(error, "attempt_ended") || PerdureError.is(error, "handing_back");
}

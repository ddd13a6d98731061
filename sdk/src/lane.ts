// Owns: which writes share a request. What comes while others are on their way waits for them, and then goes together, so that under load
// requests are few, and without load nothing waits. Must not: know how requests are made, or send anything again.
import { onAbort } from "./abort.ts";
import { soon } from "./environment.ts";

/** One write, until it is settled: answered, refused, aborted or late. Each has its own time limit and signal, whatever it shares. */
export class Passenger<Call> {
  readonly call: Call;
  readonly #resolve: (answer: unknown) => void;
  readonly #reject: (error: unknown) => void;
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #forget: (() => void) | undefined;
  #settled = false;
  /** Called when it no longer waits for its answer. */
  onGone: (() => void) | undefined;

  constructor(
    call: Call,
    limits: Limits,
    resolve: (answer: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.call = call;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#timer = setTimeout(() => this.leave(limits.late()), limits.ms);
    const { signal } = limits;
    if (signal !== undefined) this.#forget = onAbort(signal, () => this.leave(signal.reason));
  }

  get settled(): boolean {
    return this.#settled;
  }

  resolve(answer: unknown): void {
    if (this.#settle()) this.#resolve(answer);
  }

  reject(error: unknown): void {
    if (this.#settle()) this.#reject(error);
  }

  /** Waits no longer. */
  leave(reason: unknown): void {
    if (!this.#settle()) return;
    this.#reject(reason);
    this.onGone?.();
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#forget?.();
    return true;
  }
}

export interface Limits {
  /** From now on, waiting included. */
  ms: number;
  late: () => unknown;
  signal: AbortSignal | undefined;
}

/** Sends them as one request, settles each of them, and resolves when all are. `signal` aborts when nobody waits for the answer any more. */
export type Carry<Call> = (passengers: readonly Passenger<Call>[], signal: AbortSignal) => Promise<void>;

/** Requests on their way at once: while the server works on one, the answer to the other is read and what comes of it is sent. */
const ON_THE_WAY_MAX = 2;
/** A request slower than this holds nobody up any more. */
const SLOW_MS = 250;
const CALLS_MAX = 1_000;
const LENGTH_MAX = 1_048_576;

export class Lane<Call extends { readonly length: number }> {
  readonly #carry: Carry<Call>;
  #waiting: Passenger<Call>[] = [];
  readonly #travelling = new Set<readonly Passenger<Call>[]>();
  /** Requests that the next one waits for. */
  #onTheWay = 0;
  #leaving = false;

  constructor(carry: Carry<Call>) {
    this.#carry = carry;
  }

  /** Settles with the call's own answer, as soon as its limits say so. */
  send(call: Call, limits: Limits): Promise<unknown> {
    if (limits.signal?.aborted) return Promise.reject(limits.signal.reason);
    return new Promise((resolve, reject) => {
      this.#waiting.push(new Passenger(call, limits, resolve, reject));
      this.#wake();
    });
  }

  /** Nobody here gets an answer any more. */
  close(reason: unknown): void {
    for (const passengers of [this.#waiting, ...this.#travelling])
      for (const passenger of passengers) passenger.leave(reason);
    this.#waiting = [];
  }

  /** Leaves once what is at hand now has been handled: whoever comes of that goes along. */
  #wake(): void {
    if (this.#leaving || this.#waiting.length === 0 || this.#onTheWay >= ON_THE_WAY_MAX) return;
    this.#leaving = true;
    soon(() => {
      this.#leaving = false;
      const passengers = this.#board();
      if (passengers.length > 0) void this.#leave(passengers);
      this.#wake();
    });
  }

  #board(): Passenger<Call>[] {
    const boarded: Passenger<Call>[] = [];
    let length = 0;
    let seen = 0;
    for (const passenger of this.#waiting) {
      if (boarded.length === CALLS_MAX || (length > 0 && length + passenger.call.length > LENGTH_MAX)) break;
      seen += 1;
      if (passenger.settled) continue;
      length += passenger.call.length;
      boarded.push(passenger);
    }
    this.#waiting = this.#waiting.slice(seen);
    return boarded;
  }

  async #leave(passengers: readonly Passenger<Call>[]): Promise<void> {
    let counts = true;
    this.#onTheWay += 1;
    const arrive = () => {
      if (!counts) return;
      counts = false;
      this.#onTheWay -= 1;
      this.#wake();
    };
    const slow = setTimeout(arrive, SLOW_MS);
    this.#travelling.add(passengers);
    try {
      await this.#carry(passengers, abortOnceAllAreGone(passengers));
    } finally {
      clearTimeout(slow);
      this.#travelling.delete(passengers);
      arrive();
    }
  }
}

function abortOnceAllAreGone<Call>(passengers: readonly Passenger<Call>[]): AbortSignal {
  const controller = new AbortController();
  let left = passengers.length;
  for (const passenger of passengers) {
    passenger.onGone = () => {
      left -= 1;
      if (left === 0) controller.abort(new Error("nobody waits for the answer any more"));
    };
  }
  return controller.signal;
}

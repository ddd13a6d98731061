// Owns: running one step so that its result is recorded once: begin, call, retry, record, replay. Must not: choose which step is next.

import { type LinkedAbort, linkAbort, onAbort, pause } from "./abort.ts";
import { compact } from "./absent.ts";
import { type Attempt, isUnwinding } from "./attempt.ts";
import { type Retry, retryDelayMs } from "./backoff.ts";
import { Behind } from "./behind.ts";
import type { StepAnswer, WireStep } from "./deliveries.ts";
import { type Duration, toMs } from "./duration.ts";
import { describeFailure, IntentFailure, LONGEST_MESSAGE, PerdureError } from "./errors.ts";
import type { Wire } from "./intents.ts";
import { toJson } from "./json.ts";
import { type OnInterrupt, retryFromWire, retryToWire } from "./sending.ts";
import { type StepLog, settled } from "./step-log.ts";
import { StateBuffer, type StepState } from "./step-state.ts";

/** What a step's function is given. */
export interface Step {
  readonly key: string;
  /**
   * The same on every try and every attempt: pass it to the outside world, so that it can tell a repetition. Throws `validation_failed` in
   * a step with `durability: "async"`, which should not need it.
   */
  readonly idempotencyKey: string;
  /** 1 on the first try. */
  readonly tries: number;
  /** An earlier try began and was never recorded: its effect may have happened. */
  readonly interrupted: boolean;
  /** Aborts on the step's timeout and when the attempt is over. */
  readonly signal: AbortSignal;
  /** State of the intent that is written together with the step's result, or not at all. The last write of a key counts. */
  readonly state: StepState;
}

export interface StepOptions<T = any> {
  /** JSON kept with the step, for people who read the log. */
  input?: unknown;
  /** Longest time for one try; then the try fails with `step_timeout`. */
  timeout?: Duration;
  /** Tries again in this process, with jitter. Default none. */
  retry?: Retry;
  /**
   * What becomes of the step when its agent is lost while it runs: `retry` (default), `fail`, or `ask` an operator. A function looks at the
   * outside world before the next try and answers one of these, or `{ done: result }` when the effect turns out to have happened.
   */
  onInterrupt?: OnInterrupt | ((step: Step) => Promise<{ done: T } | OnInterrupt>);
  /**
   * `sync` (default): the step begins and its result is returned only when the server has it. `async`: both are recorded while the work
   * goes on, which costs it no time; a crash may then run this step and the one before it again, although they had returned. For work that
   * may be repeated and changes nothing outside: reading, computing, asking a model. A `sync` step, a wait, a checkpoint and the end of the
   * intent come only after all that went before is recorded.
   */
  durability?: "sync" | "async";
}

/** One step to run. */
export interface StepWork {
  key: string;
  run: (step: Step) => unknown;
  options: StepOptions;
  /** The server has begun it for us already. */
  begun?: WireStep | undefined;
  /** Extra fields for recording it done, asked for at that moment. */
  recordWith?: () => Wire;
}

export interface Recorded {
  result: unknown;
  /** The answer to recording it; undefined when the result was recorded earlier. */
  answer?: StepAnswer;
}

/** A result on its way to the server, and the step that begins with it. */
interface Leaving {
  readonly recorded: Promise<Recorded>;
  next: string | undefined;
}

/** The server ends an attempt whose step runs too long, and counts a loss. The SDK's own timer must be the first to speak. */
export const SERVER_TIMEOUT_MARGIN_MS = 2_000;
/** Answers that are about the value, not about the moment: the step fails with them. */
const REFUSED_VALUE = new Set([400, 413, 422]);

export class StepRunner {
  readonly #running = new Map<string, Promise<unknown>>();
  readonly #attempt: Attempt;
  readonly #log: StepLog;
  readonly #behind = new Behind(isUnwinding);
  #leaving: Leaving | undefined;

  constructor(attempt: Attempt, log: StepLog) {
    this.#attempt = attempt;
    this.#log = log;
  }

  /** The key of a step at work. */
  get current(): string | undefined {
    return [...this.#running.keys()].at(-1);
  }

  /** `ctx.step`. */
  wrapped<T>(key: string, run: (step: Step) => T | Promise<T>, options: StepOptions<T> = {}): Promise<T> {
    const identity = this.#log.identify(key);
    const work: StepWork = { key: identity, run, options, recordWith: () => ({ complete_intent: false }) };
    const promise = this.run(work).then((recorded) => recorded.result as T);
    // A step nobody awaits must not end the process: its failure is recorded all the same.
    promise.catch(() => undefined);
    return promise;
  }

  /** Runs a step, or replays what is recorded of it. Throws IntentFailure when it failed, and the attempt's errors. */
  async run(work: StepWork): Promise<Recorded> {
    const promise = this.#drive(work);
    this.#running.set(work.key, promise);
    try {
      return await promise;
    } finally {
      this.#running.delete(work.key);
    }
  }

  /** Settles when no step is at work, or on its way to being recorded, any more. Never rejects. */
  async idle(): Promise<void> {
    while (this.#running.size > 0 || this.#behind.size > 0) {
      await Promise.allSettled(this.#running.values());
      await this.#behind.idle();
    }
  }

  /** Resolves when all results that were returned are recorded. Throws why one of them never will be. */
  recorded(): Promise<void> {
    return this.#behind.atMost(0);
  }

  async #drive(work: StepWork): Promise<Recorded> {
    const replayed = this.#log.replay(work.key);
    if (replayed !== undefined) return replayed;
    const isAsync = work.options.durability === "async";
    if (isAsync) requireRepeatable(work);
    const known = this.#log.record(work.key);
    try {
      await this.#log.mayBegin();
      await this.#behind.atMost(isAsync ? 1 : 0);
      this.#attempt.gate();
    } catch (error) {
      if (work.begun !== undefined) this.#attempt.notRun.add(work.key);
      throw error;
    }
    if (isAsync) return await this.#runAhead(work, known);
    const verdict =
      work.begun === undefined && known?.interrupted ? await this.#settleDoubt(work, known) : undefined;
    if (verdict !== undefined) return verdict;
    return await this.#runRecorded(work, work.begun, 1);
  }

  /** Runs the step and returns its result while both are being recorded. A failure takes the way of every other step. */
  async #runAhead(work: StepWork, known: WireStep | undefined): Promise<Recorded> {
    const begins = Promise.resolve(work.begun ?? this.#beginBehind(work));
    begins.catch(() => undefined); // asked for only where the step fails
    const state = new StateBuffer();
    let result: unknown;
    try {
      result = toJson(await this.#call(work, expected(work, known), state));
    } catch (error) {
      const begun = await begins;
      if (this.#attempt.over) throw this.#attempt.signal.reason;
      if (isUnwinding(error)) throw error;
      await this.#failed(work, begun, error, 1);
      this.#attempt.gate();
      return await this.#runRecorded(work, undefined, 2);
    }
    this.#log.results[work.key] = result;
    this.#behind.add(this.#doneBehind(work, result, state));
    return { result };
  }

  /** With the result of the step before it, where that has not left yet: one write less. */
  #beginBehind(work: StepWork): Promise<WireStep> {
    const leaving = this.#leaving;
    const { input, timeout, retry } = work.options;
    const saysMore = input !== undefined || timeout !== undefined || retry !== undefined;
    if (leaving === undefined || leaving.next !== undefined || saysMore)
      return this.#behind.send(() => this.#begin(work));
    leaving.next = work.key;
    return leaving.recorded.then(({ answer }) => answer?.begun ?? this.#begin(work));
  }

  #doneBehind(work: StepWork, result: unknown, state: StateBuffer): Promise<Recorded> {
    const recorded = this.#behind.send(async () => {
      await pause(0, undefined, this.#attempt.timers); // the step that follows at once may go along
      if (this.#leaving === leaving) this.#leaving = undefined;
      return await this.#done(work, result, state, compact({ begin_next: leaving.next }));
    });
    const leaving: Leaving = { recorded, next: undefined };
    this.#leaving = leaving;
    return recorded;
  }

  async #runRecorded(work: StepWork, alreadyBegun: WireStep | undefined, tryNo: number): Promise<Recorded> {
    let begun = alreadyBegun;
    const state = new StateBuffer();
    for (let failures = tryNo; ; failures++) {
      begun ??= await this.#begin(work);
      const recorded = settled(begun);
      if (recorded !== undefined) return recorded;
      let result: unknown;
      try {
        state.clear();
        result = toJson(await this.#call(work, begun, state));
      } catch (error) {
        if (this.#attempt.over) throw this.#attempt.signal.reason;
        if (isUnwinding(error)) throw error;
        await this.#failed(work, begun, error, failures);
        this.#attempt.gate();
        begun = undefined;
        continue;
      }
      return await this.#done(work, result, state);
    }
  }

  async #begin(work: StepWork): Promise<WireStep> {
    const { input, timeout, retry, onInterrupt } = work.options;
    const body = compact({
      status: "running",
      input,
      on_interrupt: typeof onInterrupt === "function" ? "retry" : onInterrupt,
      timeout_seconds: timeout === undefined ? undefined : (toMs(timeout) + SERVER_TIMEOUT_MARGIN_MS) / 1_000,
      retry: retry === undefined ? undefined : retryToWire(retry),
    });
    const answer = await this.#log.write(work.key, body);
    return this.#log.remember(answer.step);
  }

  async #call(work: StepWork, begun: Expected, state: StepState): Promise<unknown> {
    const ms = timeoutOf(work, this.#log.record(work.key));
    const late = () =>
      new IntentFailure(`step "${work.key}" ran longer than ${ms} ms`, { code: "step_timeout" });
    const limit = ms === undefined ? undefined : { ms, reason: late };
    let scope: LinkedAbort | undefined;
    // A signal of its own costs more than all the rest of a step, and few ask for it.
    const own = () => {
      scope ??= linkAbort([this.#attempt.signal], limit, this.#attempt.timers);
      return scope.signal;
    };
    const ends = limit === undefined ? this.#attempt.signal : own();
    let forget: () => void = () => undefined;
    const ended = new Promise<never>((_, reject) => {
      forget = onAbort(ends, () => reject(ends.reason));
    });
    const step = viewOf(begun, own, state);
    try {
      // Raced, so that a function that ignores its signal cannot hold what comes after it.
      return await Promise.race([(async () => work.run(step))(), ended]);
    } finally {
      forget();
      scope?.release();
    }
  }

  async #done(work: StepWork, result: unknown, state: StateBuffer, more: Wire = {}): Promise<Recorded> {
    const body = { status: "done", result, ...work.recordWith?.(), ...state.toWire(), ...more };
    let answer: StepAnswer;
    try {
      answer = await this.#log.write(work.key, body);
    } catch (error) {
      // A conflict of state is the step's failure, and another try may well succeed.
      if (!PerdureError.is(error)) throw error;
      const conflict = error.code === "version_conflict";
      if (!conflict && !REFUSED_VALUE.has(error.status ?? 0)) throw error;
      throw await this.#reportFailure(
        work.key,
        new IntentFailure(error.message, { code: error.code, retryable: conflict, cause: error }),
      );
    }
    // The first recorded result wins, also over ours.
    const step = { ...answer.step, result: "result" in answer.step ? answer.step.result : result };
    this.#log.remember(step);
    if (answer.begun) this.#log.remember(answer.begun);
    return { result: step.result ?? null, answer };
  }

  /** Records a failed try and waits for the next one; throws when there is none. */
  async #failed(work: StepWork, begun: WireStep, error: unknown, failures: number): Promise<void> {
    const failure = describeFailure(error);
    const policy = work.options.retry ?? retryFromWire(this.#log.record(work.key)?.retry);
    // `tries` counts over all attempts, as the server does: a step that crashes its agent does not get new retries each time.
    const again =
      failure.retryable && policy !== undefined && Math.max(begun.tries, failures) <= policy.maxRetries;
    const thrown = await this.#reportFailure(work.key, failure);
    if (!again) throw thrown;
    const least = failure.retryAfter === undefined ? 0 : toMs(failure.retryAfter);
    try {
      const { winding, timers } = this.#attempt;
      await pause(Math.max(least, retryDelayMs(policy, failures)), winding, timers);
    } catch {
      this.#attempt.gate();
    }
  }

  async #reportFailure(key: string, failure: IntentFailure): Promise<IntentFailure> {
    const { code, message, details, retryable } = failure;
    const error = compact({
      code,
      message: message.slice(0, LONGEST_MESSAGE),
      details: details === undefined ? undefined : toJson(details),
    });
    const body = { status: "failed", error, retryable, complete_intent: false };
    const answer = await this.#log.write(key, body);
    this.#log.remember(answer.step);
    const cause = failure.cause ?? failure;
    return new IntentFailure(
      message,
      compact({ code, retryable, retryAfter: failure.retryAfter, details, cause }),
    );
  }

  /** The step may or may not have had its effect, and its owner brought a way to find out. */
  async #settleDoubt(work: StepWork, known: WireStep): Promise<Recorded | undefined> {
    const { onInterrupt } = work.options;
    if (typeof onInterrupt !== "function") return undefined;
    const state = new StateBuffer();
    const verdict = await onInterrupt(viewOf(known, () => this.#attempt.signal, state));
    this.#attempt.gate();
    if (typeof verdict === "object") return await this.#done(work, toJson(verdict.done), state);
    if (verdict === "retry") return undefined;
    if (verdict === "fail") {
      const message = `step "${work.key}" was interrupted, and its onInterrupt answered "fail"`;
      throw await this.#reportFailure(
        work.key,
        new IntentFailure(message, { code: "step_interrupted", retryable: false }),
      );
    }
    // Handing it back while it counts as running is what asks the operator.
    await this.#begin({ ...work, options: { ...work.options, onInterrupt: "ask" } });
    this.#attempt.windDown("in_doubt");
    this.#attempt.gate();
    return undefined;
  }
}

/** A step as the server will begin it. */
interface Expected extends Pick<WireStep, "key" | "tries" | "interrupted"> {
  idempotency_key?: string;
}

function expected(work: StepWork, known: WireStep | undefined): Expected {
  if (work.begun !== undefined) return work.begun;
  const { key } = work;
  // One that was taken back begins anew, and is another step to the outside world.
  if (known === undefined || known.status === "superseded") return { key, tries: (known?.tries ?? 0) + 1 };
  return { ...known, tries: known.tries + 1 };
}

function viewOf(step: Expected, signal: () => AbortSignal, state: StepState): Step {
  const { key, idempotency_key, tries, interrupted = false } = step;
  return Object.freeze({
    key,
    get idempotencyKey() {
      if (idempotency_key !== undefined) return idempotency_key;
      throw new PerdureError(
        "validation_failed",
        `step "${key}" runs before the server knows of it, with durability "async"; leave that away where the outside world must recognise a repetition`,
      );
    },
    tries,
    interrupted,
    get signal() {
      return signal();
    },
    state,
  });
}

function requireRepeatable({ key, options }: StepWork): void {
  if (options.onInterrupt === undefined || options.onInterrupt === "retry") return;
  throw new PerdureError(
    "validation_failed",
    `step "${key}" has durability "async", so that whether it was interrupted is not known for sure; onInterrupt needs "sync"`,
  );
}

function timeoutOf(work: StepWork, record: WireStep | undefined): number | undefined {
  if (work.options.timeout !== undefined) return toMs(work.options.timeout);
  if (typeof record?.timeout_seconds !== "number") return undefined;
  // Declared: the server's own timer runs on the same number, so ours is a little shorter.
  const declaredMs = record.timeout_seconds * 1_000;
  return Math.max(declaredMs - SERVER_TIMEOUT_MARGIN_MS / 4, declaredMs * 0.9);
}

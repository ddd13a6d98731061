// Owns: the waits of one delivery: what a handler waits for, and letting go of it meanwhile. Must not: know who ends a wait.
// A wait is a step that somebody else finishes. While it is open nobody works on the intent: this attempt is over, at no cost.
import { pause } from "./abort.ts";
import { compact, optional } from "./absent.ts";
import type { Attempt } from "./attempt.ts";
import { Backoff } from "./backoff.ts";
import { readOutcomes } from "./children.ts";
import type { StepAnswer } from "./deliveries.ts";
import { type Duration, describeMs, toMs, toSeconds } from "./duration.ts";
import { PerdureError } from "./errors.ts";
import { stableHash } from "./hash.ts";
import type { Http } from "./http.ts";
import { type Decision, type HumanTask, humanTaskToWire, presentDecision } from "./human-task.ts";
import type { Outcome, Wire } from "./intents.ts";
import type { Logger } from "./logger.ts";
import { describeWait } from "./report.ts";
import { type StepLog, settled } from "./step-log.ts";
import type { StepRunner } from "./steps.ts";
import { waitForIntent } from "./wait-for.ts";

/** What a wait is made of. `wire` throws `validation_failed` for what can be seen to be wrong from here. */
interface Wait<T> {
  key: string;
  /** For people: `for signal approve`. */
  what: () => string;
  wire: () => Wire;
  read: (result: any) => T | Promise<T>;
}

export interface WaitsSetup {
  attempt: Attempt;
  log: StepLog;
  steps: StepRunner;
  http: Http;
  logger: Logger;
  /** The work is an object of steps: whoever calls us is a step at work. */
  insideSteps: boolean;
}

/** The server may still count a step whose record we gave up on; more tries would not change that. */
const PENDING_TRIES = 3;
const HELD_UP_MS = 30_000;

export class Waits {
  readonly #setup: WaitsSetup;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(setup: WaitsSetup) {
    this.#setup = setup;
  }

  ask<D>(key: string, task: HumanTask): Promise<Decision<D>> {
    return this.#wait({
      key,
      what: () => `for a decision: ${task.title}`,
      wire: () => ({ human_task: humanTaskToWire(task), ...limitToWire(task.deadline) }),
      read: (result) => presentDecision<D>(result),
    });
  }

  sleep(key: string, until: Duration | Date): Promise<void> {
    return this.#wait({
      key,
      what: () => (until instanceof Date ? `until ${until.toISOString()}` : `for ${describeMs(toMs(until))}`),
      wire: () => sleepToWire(until),
      read: () => undefined,
    });
  }

  signal<T>(name: string, options: { timeout?: Duration } = {}): Promise<T> {
    return this.#wait({
      key: `signal:${name}`,
      what: () => `for signal ${name}`,
      wire: () => ({ signal: name, ...limitToWire(options.timeout) }),
      read: (data) => data as T,
    });
  }

  async outcome<R>(id: string): Promise<Outcome<R>> {
    const [outcome] = await this.#intents<R>([id], `wait:${id}`, `for intent ${id}`);
    return outcome as Outcome<R>;
  }

  outcomes<R>(ids: readonly string[]): Promise<Outcome<R>[]> {
    if (ids.length === 0) return Promise.resolve([]);
    return this.#intents<R>([...ids], `wait:${stableHash(JSON.stringify(ids))}`, `for ${ids.length} intents`);
  }

  /** Settles when no wait is being asked for any more. Never rejects. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  #intents<R>(ids: string[], key: string, what: string): Promise<Outcome<R>[]> {
    const { http, attempt } = this.#setup;
    return this.#wait({
      key,
      what: () => what,
      wire: () => ({ intents: [...new Set(ids)] }),
      read: async (entries: Wire[]) => {
        const ask = (id: string) => waitForIntent<R>(http, id, { signal: attempt.signal });
        const outcomes = await readOutcomes(entries, ask);
        return ids.map((id) => outcomes.get(id.toLowerCase()) as Outcome<R>);
      },
    });
  }

  #wait<T>(wait: Wait<T>): Promise<T> {
    const key = this.#setup.log.identify(wait.key);
    const asked = this.#drive(key, wait);
    this.#underWay.add(asked);
    const promise = asked.finally(() => this.#underWay.delete(asked)).then(wait.read);
    // A wait nobody awaits must not end the process.
    promise.catch(() => undefined);
    return promise;
  }

  /** The recorded result, at once or after waiting for it. Throws IntentFailure when the wait failed, and the attempt's errors. */
  async #drive(key: string, wait: Wait<unknown>): Promise<unknown> {
    const { log, insideSteps } = this.#setup;
    const replayed = log.replay(key);
    if (replayed !== undefined) return replayed.result;
    if (insideSteps) throw insideStep(key);
    const wire = wait.wire();
    await log.mayBegin(); // at once, so that the wait is what says that work has begun
    return await this.#onceAlone(key, async () =>
      // As with every step of a handler: what it returns ends the intent, also when this was the plan's last step.
      this.#judge(wait, await log.write(key, { status: "waiting", wait: wire, complete_intent: false })),
    );
  }

  /** The result, when it is there already; otherwise this attempt is over. */
  #judge(wait: Wait<unknown>, answer: StepAnswer): unknown {
    const { attempt, log, logger } = this.#setup;
    const recorded = settled(log.remember(answer.step));
    if (recorded !== undefined) return recorded.result;
    const what = wait.what();
    logger.info(describeWait(attempt.intentType, log.done.length, log.total, what));
    attempt.close(`it waits ${what}, and is delivered again then`);
    throw attempt.signal.reason;
  }

  /** Asks once nothing else is at work here: a step must not be cut off by a wait beside it, nor find the attempt over. */
  async #onceAlone<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const { attempt, log } = this.#setup;
    const backoff = new Backoff();
    for (let tries = 1; ; ) {
      await this.#quiet(key);
      if (this.#busy) continue; // looked at in the same moment as the wait is asked for
      try {
        return await log.park(ask);
      } catch (error) {
        if (!PerdureError.is(error, "steps_pending") || tries === PENDING_TRIES) throw error;
        tries += 1;
      }
      // As a step between two tries: cut short by a hand-back, which the next look at the gate tells of.
      await pause(backoff.next(), attempt.winding, attempt.timers).catch(() => undefined);
    }
  }

  /** Resolves when neither a step nor another wait is under way. Rejects when no step may begin any more. */
  async #quiet(key: string): Promise<void> {
    const { attempt, log, steps } = this.#setup;
    const notHeldUp = attempt.timers.limit(HELD_UP_MS, () => this.#warnHeldUp(key));
    try {
      await steps.idle();
      // A step that follows at once on the last one, or is called beside this wait, goes first.
      await pause(0, undefined, attempt.timers);
      await steps.idle();
      await steps.recorded();
      await log.mayBegin();
    } finally {
      notHeldUp();
    }
  }

  get #busy(): boolean {
    const { log, steps } = this.#setup;
    return steps.current !== undefined || log.parking;
  }

  #warnHeldUp(key: string): void {
    const { attempt, logger, steps } = this.#setup;
    if (steps.current === undefined) return;
    logger.warn(
      `${attempt.intentType} ${attempt.id}: "${key}" begins to wait when step "${steps.current}" is recorded; inside that step it never would`,
    );
  }
}

function insideStep(key: string): PerdureError {
  return new PerdureError(
    "validation_failed",
    `"${key}" cannot wait inside a step, which is at work until it returns; listen with a handler instead of an object of steps`,
  );
}

function limitToWire(limit: Duration | undefined): Wire {
  return compact({ timeout_seconds: optional(limit, toSeconds) });
}

function sleepToWire(until: Duration | Date): Wire {
  if (!(until instanceof Date)) return { seconds: toSeconds(until) };
  if (Number.isNaN(until.getTime()))
    throw new PerdureError("validation_failed", "the date to sleep until is not a valid one");
  return { until: until.toISOString() };
}

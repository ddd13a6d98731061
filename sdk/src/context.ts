// Owns: what a handler is given, and sending its progress. Must not: know how a delivery begins or ends.
import type { AgentWrites } from "./agent-writes.ts";
import type { Attempt } from "./attempt.ts";
import type { Intent } from "./intents.ts";
import { compact } from "./sending.ts";
import type { State } from "./state.ts";
import type { Step, StepOptions, StepRunner } from "./steps.ts";

/** One delivery of one intent, as its handler sees it. */
export interface Context<P = any> {
  readonly id: string;
  /** The intent as it was when delivered. */
  readonly intent: Intent<P>;
  readonly payload: P;
  readonly attempt: number;
  /** Not the first delivery: steps may be done or in doubt already. */
  readonly redelivered: boolean;
  /** Aborts when the intent was canceled, timed out, lost, or handed back at the end of the drain timeout. */
  readonly signal: AbortSignal;
  /** Results of the steps done so far, by key. */
  readonly results: Readonly<Record<string, any>>;
  /**
   * Runs `run` unless its result is recorded already, and records it: at most once recorded, whatever crashes. Answers the result as JSON
   * gives it back. The identity is `key`; the second use of a key is `key#2`. Steps may run in parallel.
   *
   * Throws IntentFailure when the step failed for good, the same on a replay; `attempt_ended` or `handing_back` (PerdureError) to unwind the
   * handler: let those through.
   */
  step<T>(key: string, run: (step: Step) => T | Promise<T>, options?: StepOptions<T>): Promise<T>;
  /** Tells watchers how far it is; `percent` 0 to 100. Never throws, never waits; when updates come fast the latest wins. */
  progress(update: ProgressUpdate): void;
  /** This intent's own memory: survives crashes, goes with the intent. Written only while this attempt is open. */
  readonly state: State;
  /** Memory shared by the intents of this one's session, or by everything this agent's address is given. */
  stateOf(scope: "session" | "agent"): State;
}

export interface ProgressUpdate {
  message?: string;
  percent?: number;
  data?: unknown;
}

/** Progress in the background: one request at a time, only the newest update waits. */
export class ProgressReporter {
  readonly #attempt: Attempt;
  readonly #writes: AgentWrites;
  #waiting: ProgressUpdate | undefined;
  #sending: Promise<void> | undefined;

  constructor(attempt: Attempt, writes: AgentWrites) {
    this.#attempt = attempt;
    this.#writes = writes;
  }

  report(update: ProgressUpdate): void {
    if (this.#attempt.over) return;
    this.#waiting = { ...update };
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  /** Settles when the newest update was sent, or given up on. */
  async flush(): Promise<void> {
    await this.#sending;
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting !== undefined && !this.#attempt.over) {
      const body = compact({ ...this.#waiting });
      this.#waiting = undefined;
      // A lost update is replaced by the next one; a stale attempt will be found out by a write that matters.
      await this.#writes.progress(body, this.#attempt.signal).catch(() => undefined);
    }
  }
}

export function buildContext<P>(
  intent: Intent<P>,
  redelivered: boolean,
  attempt: Attempt,
  steps: StepRunner,
  progress: ProgressReporter,
  stateOf: (scope: "intent" | "session" | "agent") => State,
): Context<P> {
  return Object.freeze({
    id: intent.id,
    intent,
    payload: intent.payload,
    attempt: attempt.number,
    redelivered,
    signal: attempt.signal,
    results: steps.results,
    step: <T>(key: string, run: (step: Step) => T | Promise<T>, options?: StepOptions<T>) =>
      steps.wrapped(key, run, options),
    progress: (update: ProgressUpdate) => progress.report(update),
    state: stateOf("intent"),
    stateOf,
  });
}

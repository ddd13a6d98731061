// Owns: what a handler is given. Must not: know how a delivery begins or ends.
import type { Attempt } from "./attempt.ts";
import type { Children } from "./children.ts";
import type { Duration } from "./duration.ts";
import type { Decision, HumanTask } from "./human-task.ts";
import type { Intent, Outcome } from "./intents.ts";
import type { ProgressReporter, ProgressUpdate } from "./progress.ts";
import type { IntentInput } from "./sending.ts";
import type { State } from "./state.ts";
import type { Step, StepOptions, StepRunner } from "./steps.ts";
import type { Waits } from "./waits.ts";

/** One delivery of one intent, as its handler sees it. */
export interface Context<P = any> {
  readonly id: string;
  /** The intent as it was when delivered. */
  readonly intent: Intent<P>;
  readonly payload: P;
  readonly attempt: number;
  /** Not the first delivery: steps may be done or in doubt already. */
  readonly redelivered: boolean;
  /** Aborts when this attempt is over: the intent waits, was canceled, timed out, lost, or handed back at the end of the drain timeout. */
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
  /**
   * Asks people, and answers what they decided: by `client.decide`, the command line or the dashboard. A wait, like the four below: while it
   * is open nobody works on the intent, this handler is left (with `attempt_ended`: let it through) and called again when it is over, with
   * the steps done skipped. A wait begins when the steps at work beside it are recorded, one wait after the other, and not inside a step.
   *
   * Throws IntentFailure `wait_timeout` after the task's deadline, the same on every replay; PerdureError `validation_failed`.
   */
  ask<D = any>(key: string, task: HumanTask): Promise<Decision<D>>;
  /** Waits for so long, counted from the first time, or until a date. Nothing is held meanwhile, also for months. */
  sleep(key: string, until: Duration | Date): Promise<void>;
  /**
   * Waits for `client.signal(id, name, data)` and answers its data. Signals are kept until a wait takes them, the oldest first, so one sent
   * before is not lost. Each call takes another one. Throws IntentFailure `wait_timeout`, the same on every replay.
   */
  waitForSignal<T = any>(name: string, options?: { timeout?: Duration }): Promise<T>;
  /**
   * Sends an intent as a child of this one, as a step: once, whatever crashes; what a first try sent counts. Answers its id. A child is
   * canceled with its parent, unless `detached`. Throws as `step` does.
   */
  sendIntent(key: string, input: IntentInput): Promise<string>;
  /** Sends up to 1,000 children in one commit, all or none, as one step. */
  sendIntents(key: string, inputs: IntentInput[]): Promise<string[]>;
  /** Waits until a child has ended, and answers how. A failed child is no failure here. Throws PerdureError `not_a_child`. */
  waitFor<R = any>(id: string): Promise<Outcome<R>>;
  /** Waits until all of up to 1,000 children have ended; their outcomes in the order of the ids. */
  waitFor<R = any>(ids: string[]): Promise<Outcome<R>[]>;
  /** Names this point of the log, for `client.restore`. Naming it again, as a replay does, keeps the first. */
  checkpoint(name: string): Promise<void>;
  /** Tells watchers how far it is; `percent` 0 to 100. Never throws, never waits; when updates come fast the latest wins. */
  progress(update: ProgressUpdate): void;
  /**
   * Streams what there is of the result so far, such as the words of a model, to whoever waits with `onProgress` or observes. Never throws,
   * never waits; what comes fast is sent together, some ten times a second. It is kept in the log; another attempt begins anew.
   */
  write(text: string): void;
  /** This intent's own memory: survives crashes, goes with the intent. Written only while this attempt is open. */
  readonly state: State;
  /** Memory shared by the intents of this one's session, or by everything this agent's address is given. */
  stateOf(scope: "session" | "agent"): State;
}

export interface ContextParts<P> {
  intent: Intent<P>;
  redelivered: boolean;
  attempt: Attempt;
  results: Readonly<Record<string, any>>;
  steps: StepRunner;
  waits: Waits;
  children: Children;
  progress: ProgressReporter;
  checkpoint: (name: string) => Promise<void>;
  stateOf: (scope: "intent" | "session" | "agent") => State;
}

export function buildContext<P>(parts: ContextParts<P>): Context<P> {
  const { intent, redelivered, attempt, results, steps, waits, children, checkpoint, stateOf } = parts;
  return Object.freeze({
    id: intent.id,
    intent,
    payload: intent.payload,
    attempt: attempt.number,
    redelivered,
    signal: attempt.signal,
    results,
    step: <T>(key: string, run: (step: Step) => T | Promise<T>, options?: StepOptions<T>) =>
      steps.wrapped(key, run, options),
    ask: <D>(key: string, task: HumanTask) => waits.ask<D>(key, task),
    sleep: (key: string, until: Duration | Date) => waits.sleep(key, until),
    waitForSignal: <T>(name: string, options?: { timeout?: Duration }) => waits.signal<T>(name, options),
    sendIntent: (key: string, input: IntentInput) => children.send(key, input),
    sendIntents: (key: string, inputs: IntentInput[]) => children.sendAll(key, inputs),
    waitFor: ((awaited: string | string[]) =>
      typeof awaited === "string" ? waits.outcome(awaited) : waits.outcomes(awaited)) as Context["waitFor"],
    progress: (update: ProgressUpdate) => parts.progress.report(update),
    write: (text: string) => parts.progress.write(text),
    checkpoint,
    state: stateOf("intent"),
    stateOf,
  });
}

// Owns: one delivery from start to its end in this process: complete, fail, or hand back. Must not: know about streams and heartbeats.

import { onAbort, within } from "./abort.ts";
import { compact } from "./absent.ts";
import { AgentWrites } from "./agent-writes.ts";
import { Attempt, type HandBackReason, isUnwinding } from "./attempt.ts";
import { Children } from "./children.ts";
import { buildContext, type Context } from "./context.ts";
import type { Delivery, Started } from "./deliveries.ts";
import { toMs } from "./duration.ts";
import { describeFailure, IntentFailure, LONGEST_MESSAGE, PerdureError } from "./errors.ts";
import type { Http } from "./http.ts";
import { type Intent, presentIntent } from "./intents.ts";
import { toJson } from "./json.ts";
import type { Logger } from "./logger.ts";
import { Opening } from "./opening.ts";
import { mayBeginAhead, type PlannedStep, planToWire, runPlan } from "./plan.ts";
import { ProgressReporter } from "./progress.ts";
import { describeHandBack, describeResume } from "./report.ts";
import { HttpState } from "./state.ts";
import { StepLog } from "./step-log.ts";
import { StepRunner } from "./steps.ts";
import { realTimers, type Timers } from "./timers.ts";
import { Waits } from "./waits.ts";

/** Answers the intent's result, any JSON value. A throw fails the intent, by its retry policy unless IntentFailure says otherwise. */
export type Handler<P = any, R = any> = (ctx: Context<P>) => R | Promise<R>;

export type Work = { handler: Handler } | { steps: PlannedStep[] };

export interface HandedBack {
  id: string;
  done: number;
  total?: number;
}

export interface RunHooks {
  /** The attempt is over for this process; called once. `known`: the server knows it too. */
  onOver(run: Run, known: boolean): void;
  onHandedBack(handedBack: HandedBack): void;
  onRefusedKey(error: PerdureError): void;
}

/** `ended`: recording the last step completed the intent. */
interface Finished {
  ended: boolean;
  result: unknown;
}

type Outcome = { failed: false; value: Finished } | { failed: true; error: unknown };

/** How long a hand-back may take once the drain timeout has passed. */
const FORCED_RELEASE_MS = 3_000;

export class Run {
  readonly attempt: Attempt;
  readonly intentType: string;
  readonly #delivery: Delivery;
  readonly #intent: Intent;
  readonly #work: Work;
  readonly #http: Http;
  readonly #writes: AgentWrites;
  readonly #opening: Opening;
  readonly #log: StepLog;
  readonly #steps: StepRunner;
  readonly #waits: Waits;
  readonly #progress: ProgressReporter;
  readonly #logger: Logger;
  readonly #hooks: RunHooks;
  /** Whether the server has said, or been told, that this attempt is over. */
  #known = true;
  #settling = false;

  constructor(
    delivery: Delivery,
    work: Work,
    http: Http,
    logger: Logger,
    hooks: RunHooks,
    timers: Timers = realTimers,
  ) {
    this.#delivery = delivery;
    this.#work = work;
    this.#logger = logger;
    this.#hooks = hooks;
    this.#intent = presentIntent(delivery.intent);
    this.intentType = this.#intent.intentType;
    this.attempt = new Attempt(
      { id: delivery.intent_id, attempt: delivery.attempt, intentType: this.intentType },
      logger,
      { onOver: () => hooks.onOver(this, this.#known), onRefusedKey: hooks.onRefusedKey },
      timers,
    );
    this.#http = http;
    this.#writes = new AgentWrites(http, delivery.intent_id, delivery.attempt);
    this.#opening = new Opening(async () => void (await this.#start({ begin_next: false })), timers);
    this.#log = new StepLog(this.attempt, this.#writes, () => this.#opening.implied());
    this.#log.load(delivery.steps);
    this.#steps = new StepRunner(this.attempt, this.#log);
    const { attempt } = this;
    const insideSteps = "steps" in work;
    this.#waits = new Waits({ attempt, log: this.#log, steps: this.#steps, http, logger, insideSteps });
    this.#progress = new ProgressReporter(this.attempt, this.#writes);
  }

  get currentStep(): string | undefined {
    return this.#steps.current;
  }

  /** The last write is on its way: the server may already count the intent as gone. */
  get settling(): boolean {
    return this.#settling || this.#log.parking;
  }

  /** Does the work. Never rejects. */
  async execute(): Promise<void> {
    try {
      await this.#doWork();
    } catch (error) {
      if (this.attempt.over) return;
      if (!isUnwinding(error)) {
        this.#logger.error(
          `${this.intentType} ${this.attempt.id}: cannot record the outcome; handing it back`,
          error,
        );
      }
      await this.#release(this.attempt.handBack ?? "draining").catch(() => undefined);
      if (this.attempt.over) return;
      this.#known = false;
      this.attempt.close("the outcome could not be recorded");
    }
  }

  /** Ends it now: aborts the handler's signal and hands back what was saved; a step still at work is in doubt from here on. */
  async handBackNow(): Promise<void> {
    if (this.attempt.over) return;
    this.attempt.windDown("draining");
    this.attempt.close("the drain timeout has passed");
    const sent = await within(
      FORCED_RELEASE_MS,
      this.#sendRelease("draining", new AbortController().signal).catch(() => false),
    );
    if (sent) this.#noteHandBack("draining");
  }

  async #doWork(): Promise<void> {
    const { attempt } = this;
    const reached = await this.#outcome();
    attempt.finish();
    // Steps beside the one that failed may still be at work: their results are worth keeping, and running them twice at once is not.
    await this.#steps.idle();
    const outcome = reached.failed ? reached : await this.#onceRecorded(reached);
    await this.#waits.idle();
    await this.#progress.flush();
    await this.#opening.implied();
    if (attempt.over) return;
    if (attempt.unwound || (outcome.failed && isUnwinding(outcome.error)))
      return await this.#release(attempt.handBack ?? "draining");
    this.#settling = true;
    if (outcome.failed) await this.#fail(describeFailure(outcome.error));
    else if (!outcome.value.ended) await this.#complete(outcome.value.result);
    attempt.close("finished");
  }

  /** Work that returned has failed all the same when one of its results cannot be recorded. */
  #onceRecorded(reached: Outcome): Promise<Outcome> {
    return this.#steps.recorded().then(
      () => reached,
      (error: unknown) => ({ failed: true, error }),
    );
  }

  /** What the work came to. Throws when the server refuses that it begins. */
  async #outcome(): Promise<Outcome> {
    const work = this.#work;
    // The server begins a plan's next step with the start, so that comes first.
    const started = "steps" in work ? await this.#declare(work.steps) : undefined;
    this.#reportResume();
    const running =
      "steps" in work ? this.#runPlan(work.steps, started as Started) : this.#runHandler(work.handler);
    return await Promise.race([
      running.then(
        (value) => ({ failed: false as const, value }),
        (error: unknown) => ({ failed: true as const, error }),
      ),
      this.#opening.refused,
    ]);
  }

  async #declare(steps: PlannedStep[]): Promise<Started> {
    const { plan_by, next_step } = this.#delivery;
    const nextKey = next_step?.key ?? steps[0]?.key ?? "";
    const next = steps.find((step) => step.key === nextKey);
    const body = {
      begin_next: mayBeginAhead(next, this.#log.record(nextKey), plan_by),
      ...(plan_by === "sender" ? {} : { steps: planToWire(steps) }),
    };
    const started = await this.#start(body);
    // Something on the way has sent it twice, and we were told what the second changed: nothing.
    if (this.#log.total === undefined) return await this.#start(body, { brief: false });
    return started;
  }

  #runPlan(steps: PlannedStep[], started: Started): Promise<Finished> {
    const { attempt } = this;
    return runPlan({ steps, runner: this.#steps, log: this.#log, attempt, ctx: this.#context(), started });
  }

  /** A handler runs at once, while the server is being told. */
  async #runHandler(handler: Handler): Promise<Finished> {
    this.attempt.gate();
    this.#opening.soon();
    const { signal } = this.attempt;
    // A handler that ignores its signal must not keep this delivery alive in our books once it is over.
    const over = new Promise<never>((_, reject) => {
      onAbort(signal, () => reject(signal.reason));
    });
    const result = await Promise.race([(async () => handler(this.#context()))(), over]);
    return { ended: false, result: toJson(result) };
  }

  async #start(body: Parameters<AgentWrites["start"]>[0], how = { brief: true }): Promise<Started> {
    const { attempt } = this;
    const started = await attempt.write((signal) => this.#writes.start(body, signal, how));
    this.#log.load(started.steps);
    if (started.cancel) attempt.end("canceled", "info");
    if (started.pause) attempt.windDown("paused");
    return started;
  }

  #context(): Context {
    const { attempt } = this;
    return buildContext({
      intent: this.#intent,
      redelivered: this.#delivery.redelivered,
      attempt,
      results: this.#log.results,
      steps: this.#steps,
      waits: this.#waits,
      children: new Children(attempt, this.#steps, this.#writes),
      progress: this.#progress,
      checkpoint: async (name) => {
        await this.#steps.recorded();
        await attempt.write((signal) => this.#writes.checkpoint(name, signal));
      },
      stateOf: (scope) => this.#stateOf(scope),
    });
  }

  #stateOf(scope: "intent" | "session" | "agent"): HttpState {
    const { attempt } = this;
    const id = { intent: attempt.id, session: this.#intent.session, agent: this.#delivery.intent.address }[
      scope
    ];
    if (id === undefined)
      throw new PerdureError(
        "validation_failed",
        "this intent has no session; send it with one to share state",
      );
    return new HttpState(this.#http, `${scope}:${id}`, {
      behalf: { intent_id: attempt.id, attempt: attempt.number },
      write: (send) => attempt.write(send),
      signal: attempt.signal,
      retry: "forever",
    });
  }

  #reportResume(): void {
    const line = describeResume(this.intentType, this.#log.done, this.#log.total, this.attempt.number);
    if (line !== undefined) this.#logger.info(line);
  }

  async #complete(result: unknown): Promise<void> {
    try {
      await this.attempt.write((signal) =>
        this.#writes.resolve({ status: "COMPLETED", result: result ?? null }, signal),
      );
    } catch (error) {
      if (!PerdureError.is(error) || ![400, 413, 422].includes(error.status ?? 0)) throw error;
      await this.#fail(new IntentFailure(error.message, { code: error.code, retryable: false }));
    }
  }

  async #fail(failure: IntentFailure): Promise<void> {
    const { code, message, retryable, retryAfter } = failure;
    const details = failure.details === undefined ? undefined : toJson(failure.details);
    const retry_after_seconds = retryAfter === undefined ? undefined : toMs(retryAfter) / 1_000;
    const send = (error: object) => {
      const body = compact({ status: "FAILED", error, retryable, retry_after_seconds });
      return this.attempt.write((signal) => this.#writes.resolve(body, signal));
    };
    this.#logger.warn(`${this.intentType} ${this.attempt.id} failed: ${message} (${code})`);
    try {
      await send(compact({ code, message: message.slice(0, LONGEST_MESSAGE), details }));
    } catch (error) {
      if (!PerdureError.is(error) || ![400, 413, 422].includes(error.status ?? 0)) throw error;
      await send({ code: "handler_error", message: message.slice(0, 500) });
    }
  }

  async #release(reason: HandBackReason): Promise<void> {
    this.#settling = true;
    await this.#steps.idle();
    if (this.attempt.over || !(await this.#sendRelease(reason, this.attempt.signal))) return;
    this.#noteHandBack(reason);
    this.attempt.close("handed back");
  }

  /** Gives the intent back. A refusal means that it is back already. False when the attempt ended meanwhile. */
  async #sendRelease(reason: HandBackReason, signal: AbortSignal): Promise<boolean> {
    const { notRun } = this.attempt;
    try {
      await this.#writes.release({ reason, ...(notRun.size === 0 ? {} : { not_run: [...notRun] }) }, signal);
    } catch (error) {
      if (signal.aborted) return false;
      if (!PerdureError.is(error) || error.status !== 409) throw error;
    }
    return true;
  }

  #noteHandBack(reason: HandBackReason): void {
    const done = this.#log.done;
    const total = this.#log.total;
    this.#hooks.onHandedBack({
      id: this.attempt.id,
      done: done.length,
      ...(total === undefined ? {} : { total }),
    });
    this.#logger.info(
      `${describeHandBack(this.intentType, done, total)}${reason === "draining" ? "" : `: ${reason}`}`,
    );
  }
}

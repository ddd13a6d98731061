// Owns: what is recorded of one delivery's steps, who they are, and when more may be written of them. Must not: run them.
import { compact } from "./absent.ts";
import type { AgentWrites } from "./agent-writes.ts";
import type { Attempt } from "./attempt.ts";
import { failedForGood, type StepAnswer, type WireStep } from "./deliveries.ts";
import { IntentFailure, PerdureError } from "./errors.ts";
import type { Wire } from "./intents.ts";

export class StepLog {
  /** Results of done steps by key. */
  readonly results: Record<string, unknown> = Object.create(null);
  readonly #records = new Map<string, WireStep>();
  readonly #occurrences = new Map<string, number>();
  readonly #attempt: Attempt;
  readonly #writes: AgentWrites;
  readonly #mayWrite: () => Promise<void>;
  #parking: Promise<unknown> | undefined;

  /** `mayWrite`: resolves when a step may say that work has begun; rejects when the server refused that. */
  constructor(attempt: Attempt, writes: AgentWrites, mayWrite: () => Promise<void>) {
    this.#attempt = attempt;
    this.#writes = writes;
    this.#mayWrite = mayWrite;
  }

  /** Takes over what the server has recorded so far. */
  load(steps: readonly WireStep[]): void {
    for (const step of steps) this.remember(step);
  }

  remember(step: WireStep): WireStep {
    const known = this.#records.get(step.key);
    const merged = known === undefined ? step : { ...known, ...step };
    this.#records.set(step.key, merged);
    if (merged.status === "done") this.results[step.key] = merged.result ?? null;
    return merged;
  }

  /** The steps of the plan, in order. */
  get declared(): WireStep[] {
    return [...this.#records.values()].filter((step) => step.declared && step.status !== "superseded");
  }

  get done(): WireStep[] {
    return [...this.#records.values()].filter((step) => step.status === "done");
  }

  /** Steps in the plan, where there is one. */
  get total(): number | undefined {
    return this.declared.length || undefined;
  }

  record(key: string): WireStep | undefined {
    return this.#records.get(key);
  }

  /** Declared steps are run by the plan: a `ctx.step` of the same key inside it is another step. */
  reserve(keys: readonly string[]): void {
    for (const key of keys) this.#occurrences.set(key, 1);
  }

  /** The identity of this use of a key: itself, and `key#2`, `key#3` … where it repeats; never the order of different keys. */
  identify(key: string): string {
    const occurrence = (this.#occurrences.get(key) ?? 0) + 1;
    this.#occurrences.set(key, occurrence);
    return occurrence === 1 ? key : `${key}#${occurrence}`;
  }

  /** What to replay of a step: its result, or a throw of its failure; undefined when it has yet to be run. Throws for an impossible key. */
  replay(key: string): { result: unknown } | undefined {
    if (key === "" || key === "." || key === "..")
      throw new PerdureError("validation_failed", `${JSON.stringify(key)} cannot be a step key`);
    return settled(this.#records.get(key));
  }

  /** Resolves when a step may say that it begins. Rejects when none may any more. */
  async mayBegin(): Promise<void> {
    this.#attempt.gate();
    await this.#mayWrite();
    while (this.#parking !== undefined) await this.#parking;
    this.#attempt.gate();
  }

  /** Whether a wait is being asked for, whose answer may be that the attempt is over. */
  get parking(): boolean {
    return this.#parking !== undefined;
  }

  /** While `ask` asks for a wait and judges the answer no step begins, or it would find the attempt over. */
  async park<T>(ask: () => Promise<T>): Promise<T> {
    const asking = ask();
    this.#parking = asking.then(
      () => undefined,
      () => undefined,
    );
    try {
      return await asking;
    } finally {
      this.#parking = undefined;
    }
  }

  async write(key: string, body: Wire): Promise<StepAnswer> {
    const answer = await this.#attempt.write((signal) => this.#writes.step(key, body, signal));
    if (answer.pause) this.#attempt.windDown("paused");
    return answer;
  }
}

/** A step's recorded result, or a throw of its recorded failure; undefined when neither is there for good. */
export function settled(step: WireStep | undefined): { result: unknown } | undefined {
  if (step?.status === "done") return { result: step.result ?? null };
  if (step !== undefined && failedForGood(step)) throw replayedFailure(step);
  return undefined;
}

function replayedFailure(step: WireStep): IntentFailure {
  const {
    code = "step_failed",
    message = `step "${step.key}" failed`,
    retryable = false,
    details,
  } = step.error ?? {};
  return new IntentFailure(message, compact({ code, retryable, details: details ?? undefined }));
}

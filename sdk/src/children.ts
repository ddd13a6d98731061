// Owns: the intents a handler sends as its own: sent once whatever crashes, and how they ended. Must not: wait for them.
import type { AgentWrites } from "./agent-writes.ts";
import type { Attempt } from "./attempt.ts";
import { PerdureError } from "./errors.ts";
import { type Outcome, presentOutcome, type Wire } from "./intents.ts";
import { batchKey, type IntentInput, intentToWire } from "./sending.ts";
import type { Step, StepRunner } from "./steps.ts";

/** Outcomes asked for at once. */
const READ_AT_ONCE = 8;

export class Children {
  readonly #attempt: Attempt;
  readonly #steps: StepRunner;
  readonly #writes: AgentWrites;

  constructor(attempt: Attempt, steps: StepRunner, writes: AgentWrites) {
    this.#attempt = attempt;
    this.#steps = steps;
    this.#writes = writes;
  }

  send(key: string, input: IntentInput): Promise<string> {
    return this.#steps.wrapped(key, async (step) => {
      const body = this.#childOf(step, input);
      const { idempotencyKey = step.idempotencyKey } = input;
      try {
        const answer = await this.#attempt.write((signal) =>
          this.#writes.child(body, idempotencyKey, signal),
        );
        return answer.intent_id;
      } catch (error) {
        const first = idempotencyKey === step.idempotencyKey ? sentEarlier(error) : undefined;
        if (first === undefined) throw error;
        return first;
      }
    });
  }

  sendAll(key: string, inputs: readonly IntentInput[]): Promise<string[]> {
    return this.#steps.wrapped(key, async (step) => {
      if (inputs.length === 0) return [];
      const bodies = inputs.map((input) => this.#childOf(step, input));
      const idempotencyKey = batchKey(inputs) ?? step.idempotencyKey;
      const answer = await this.#attempt.write((signal) =>
        this.#writes.children(bodies, idempotencyKey, signal),
      );
      return answer.intent_ids ?? answer.intents.map((intent: Wire) => intent.intent_id);
    });
  }

  #childOf(step: Step, input: IntentInput): Wire {
    const { id, number } = this.#attempt;
    return { ...intentToWire(input), parent_intent_id: id, parent_attempt: number, parent_step: step.key };
  }
}

/** The step's first try sent another input, and crashed: what was sent counts, as the first recorded result does. */
function sentEarlier(error: unknown): string | undefined {
  if (!PerdureError.is(error, "idempotency_mismatch")) return undefined;
  return (error.details as { intent_id?: string } | undefined)?.intent_id;
}

/** How the children of a recorded wait ended. Outcomes that were too large to be recorded together are asked for one by one. */
export async function readOutcomes(
  entries: readonly Wire[],
  ask: (id: string) => Promise<Outcome>,
): Promise<Map<string, Outcome>> {
  const outcomes = new Map<string, Outcome>();
  const omitted: string[] = [];
  for (const entry of entries) {
    const outcome = entry.result_omitted ? undefined : presentOutcome(entry);
    if (outcome === undefined) omitted.push(entry.intent_id);
    else outcomes.set(outcome.id, outcome);
  }
  const queue = omitted.values();
  const readOn = async () => {
    for (const id of queue) outcomes.set(id, await ask(id));
  };
  await Promise.all(Array.from({ length: Math.min(READ_AT_ONCE, omitted.length) }, readOn));
  return outcomes;
}

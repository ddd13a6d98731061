// Ending an intent and reopening it: resolve, cancel, and the operator's verbs.

import { pause, retry, unpause } from "../domain/decide/operator.ts";
import { cancel, type ResolveInput, type ResolveOutcome, resolve } from "../domain/decide/resolve.ts";
import { decideStep, type StepAnswer } from "../domain/decide/steps.ts";
import type { Draft } from "../domain/draft.ts";
import type { IntentEvent } from "../domain/event.ts";
import type { Actor, Intent, Step } from "../domain/intent.ts";
import { change, type Engine, fenced } from "./context.ts";

/** How many undone steps an ending event can list. */
const UNDONE = 50;

export interface ResolveAnswer {
  readonly outcome: ResolveOutcome;
  readonly intent: Intent;
  /** The event this call wrote; null for a replay. */
  readonly event: IntentEvent | null;
}

export function resolveIntent(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: Omit<ResolveInput, "random" | "holderIsLive">,
): Promise<ResolveAnswer> {
  return engine.commits.submit<ResolveAnswer>({
    name: "resolve",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: UNDONE }],
    decide: (work) =>
      fenced(
        work,
        intentId,
        actor,
        { attempt: input.attempt, operation: `resolve ${input.status}` },
        (draft) => {
          const holderIsLive = draft.intent.consumerId !== null;
          const outcome = resolve(draft, { ...input, random: Math.random(), holderIsLive });
          return { outcome, intent: draft.intent, event: draft.events.at(-1) ?? null };
        },
      ),
  });
}

function operate<T>(
  engine: Engine,
  actor: Actor,
  intentId: string,
  name: string,
  undone: number | "all",
  decide: (draft: Draft) => T,
): Promise<{ intent: Intent; value: T }> {
  return engine.commits.submit({
    name,
    intents: [intentId],
    steps: [{ intentId, keys: [], undone }],
    decide: (work) =>
      change(work, intentId, actor, (draft) => ({ value: decide(draft), intent: draft.intent })),
  });
}

export const cancelIntent = (engine: Engine, actor: Actor, intentId: string, reason: string | null) =>
  operate(engine, actor, intentId, "cancel", UNDONE, (draft) => cancel(draft, reason));

export const pauseIntent = (engine: Engine, actor: Actor, intentId: string, reason: string | null) =>
  operate(engine, actor, intentId, "pause", 1, (draft) => pause(draft, reason));

export const unpauseIntent = (engine: Engine, actor: Actor, intentId: string) =>
  operate(engine, actor, intentId, "unpause", 1, (draft) => unpause(draft));

export const retryIntent = (
  engine: Engine,
  actor: Actor,
  intentId: string,
  deadline: { at: number | null; ttlMs: number | null },
) =>
  operate(engine, actor, intentId, "retry", "all", (draft) =>
    retry(draft, { deadlineAt: deadline.ttlMs === null ? deadline.at : draft.now + deadline.ttlMs }),
  );

export function decideIntentStep(
  engine: Engine,
  actor: Actor,
  intentId: string,
  key: string,
  answer: StepAnswer,
): Promise<{ intent: Intent; step: Step }> {
  return engine.commits.submit({
    name: "decide_step",
    intents: [intentId],
    steps: [{ intentId, keys: [key], undone: UNDONE }],
    decide: (work) =>
      change(work, intentId, actor, (draft) => ({
        step: decideStep(draft, key, answer),
        intent: draft.intent,
      })),
  });
}

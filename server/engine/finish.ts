// Ending an intent and reopening it: resolve, cancel, and the operator's verbs.

import { requireSenderRight } from "../domain/decide/authority.ts";
import { decideStep, type StepAnswer } from "../domain/decide/doubt.ts";
import { pause, retry, unpause } from "../domain/decide/operator.ts";
import { changePolicy } from "../domain/decide/policy.ts";
import { cancel, type ResolveInput, type ResolveOutcome, resolve } from "../domain/decide/resolve.ts";
import type { Draft } from "../domain/draft.ts";
import type { IntentEvent } from "../domain/event.ts";
import type { Actor, Intent } from "../domain/intent.ts";
import { isStale, type PolicyPatch } from "../domain/policy.ts";
import { RawJson } from "../domain/raw-json.ts";
import type { IdempotencyRef, Workspace } from "../store/workspace.ts";
import { bytesOf, change, type Engine, fenced } from "./context.ts";
import { findReplay } from "./idempotency.ts";
import { followSessions, type SessionRef, sessionsOf } from "./sessions.ts";

/** How many undone steps an ending event can list. */
const UNDONE = 50;

export interface ResolveAnswer {
  /** `stale`: the policy is another than the caller expects; nothing happened. */
  readonly outcome: ResolveOutcome | "stale";
  readonly intent: Intent;
  /** The event this call wrote; null for a replay. */
  readonly event: IntentEvent | null;
}

export function resolveIntent(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: Omit<ResolveInput, "random" | "holderIsLive">,
  expectedGeneration: number | null = null,
): Promise<ResolveAnswer> {
  return engine.commits.submit<ResolveAnswer>({
    name: "resolve",
    intents: [intentId],
    bytes: bytesOf(input.result, input.error),
    steps: [{ intentId, keys: [], undone: UNDONE }],
    decide(work) {
      const seen = work.seen(intentId, actor);
      if (seen !== undefined && isStale(seen, expectedGeneration))
        return { outcome: "stale", intent: seen, event: null };
      return fenced<ResolveAnswer>(
        work,
        intentId,
        actor,
        { attempt: input.attempt, operation: `resolve ${input.status}` },
        (draft) => {
          // Agents that are handed work through a window know no attempts.
          const holderIsLive = draft.intent.consumerId !== null && !draft.intent.windowed;
          const outcome = resolve(draft, { ...input, random: Math.random(), holderIsLive });
          return { outcome, intent: draft.intent, event: draft.events.at(-1) ?? null };
        },
      );
    },
  });
}

export interface Operation {
  readonly engine: Engine;
  readonly actor: Actor;
  readonly intentId: string;
  /** With one, a repeat changes nothing and is answered as the first (I11). */
  readonly idempotency: IdempotencyRef | null;
}

export interface Operated {
  readonly intent: Intent;
  readonly replayed: boolean;
}

const DONE = RawJson.of({ ok: true });

function operate(
  { engine, actor, intentId, idempotency }: Operation,
  name: string,
  steps: { readonly keys?: readonly string[]; readonly undone: number | "all" },
  decide: (draft: Draft, work: Workspace) => unknown,
  sessions: readonly SessionRef[] = [],
): Promise<Operated> {
  return engine.commits.submit<Operated>({
    name,
    intents: [intentId],
    sessions,
    steps: [{ intentId, keys: steps.keys ?? [], undone: steps.undone }],
    ...(idempotency === null ? {} : { idempotency }),
    decide(work) {
      const known = work.seen(intentId, actor);
      if (known !== undefined && findReplay(work, idempotency) !== undefined)
        return { intent: known, replayed: true };
      const intent = change(work, intentId, actor, (draft) => {
        decide(draft, work);
        return draft.intent;
      });
      if (idempotency !== null) work.stageRecord({ ...idempotency, intentId, response: DONE });
      return { intent, replayed: false };
    },
  });
}

export const cancelIntent = (operation: Operation, reason: string | null): Promise<Operated> =>
  operate(operation, "cancel", { undone: UNDONE }, (draft) => {
    requireSenderRight(draft);
    return cancel(draft, reason);
  });

export const pauseIntent = (operation: Operation, reason: string | null): Promise<Operated> =>
  operate(operation, "pause", { undone: 1 }, (draft) => pause(draft, reason));

export const unpauseIntent = (operation: Operation): Promise<Operated> =>
  operate(operation, "unpause", { undone: 1 }, (draft) => unpause(draft));

export async function retryIntent(
  operation: Operation,
  deadline: { readonly at: number | null; readonly ttlMs: number | null },
): Promise<Operated> {
  const sessions = await sessionsOf(operation.engine, operation.intentId);
  return operate(
    operation,
    "retry",
    { undone: "all" },
    (draft, work) => {
      retry(draft, { deadlineAt: deadline.ttlMs === null ? deadline.at : draft.now + deadline.ttlMs });
      followSessions(work, draft, sessions);
    },
    sessions,
  );
}

export const decideIntentStep = (operation: Operation, key: string, answer: StepAnswer): Promise<Operated> =>
  operate(operation, "decide_step", { keys: [key], undone: UNDONE }, (draft) =>
    decideStep(draft, key, answer),
  );

export interface PolicyAnswer extends Operated {
  readonly applied: boolean;
  readonly reason: "stale_policy_generation" | "nothing_to_apply" | null;
  /** What it was changed in, by name. */
  readonly changed: readonly string[];
}

type PolicyTold = Pick<PolicyAnswer, "applied" | "reason" | "changed">;

/** Compare and set: a patch over another policy than the caller saw changes nothing. */
export function patchPolicy(
  { engine, actor, intentId, idempotency }: Operation,
  patch: PolicyPatch,
  about: { readonly expectedGeneration: number | null; readonly reason: string | null },
): Promise<PolicyAnswer> {
  return engine.commits.submit<PolicyAnswer>({
    name: "patch_policy",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: 1 }],
    ...(idempotency === null ? {} : { idempotency }),
    decide(work) {
      const known = work.seen(intentId, actor);
      const earlier = known === undefined ? undefined : findReplay(work, idempotency);
      if (known !== undefined && earlier !== undefined)
        return { ...(earlier.response.parse() as PolicyTold), intent: known, replayed: true };
      const answer = change(work, intentId, actor, (draft): PolicyAnswer => {
        requireSenderRight(draft);
        const { intent } = draft;
        if (isStale(intent, about.expectedGeneration))
          return {
            intent,
            applied: false,
            reason: "stale_policy_generation",
            changed: [],
            replayed: false,
          };
        const changed = changePolicy(draft, patch, about.reason);
        const asked = Object.keys(patch).length > 0;
        return {
          intent,
          applied: asked,
          reason: asked ? null : "nothing_to_apply",
          changed,
          replayed: false,
        };
      });
      const { applied, reason, changed } = answer;
      if (idempotency !== null)
        work.stageRecord({ ...idempotency, intentId, response: RawJson.of({ applied, reason, changed }) });
      return answer;
    },
  });
}

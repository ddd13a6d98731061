// What ends a wait by somebody's word: a person's decision, and the "go on" of AXP clients. Both are judged against the
// policy that the caller saw, and done once per idempotency key.

import { requireHolderRight } from "../domain/decide/authority.ts";
import { type Decision, decideTask } from "../domain/decide/human.ts";
import { unblock } from "../domain/decide/unblock.ts";
import type { Draft } from "../domain/draft.ts";
import type { Intent, Step } from "../domain/intent.ts";
import { isStale } from "../domain/policy.ts";
import { RawJson } from "../domain/raw-json.ts";
import { change } from "./context.ts";
import type { Operation } from "./finish.ts";
import { findReplay } from "./idempotency.ts";

export interface ResumeAnswer {
  readonly intent: Intent;
  readonly step: Step | null;
  readonly applied: boolean;
  /** Why it was not applied, where there is something to say. */
  readonly reason: string | null;
  readonly replayed: boolean;
}

interface Told {
  readonly applied: boolean;
  readonly reason: string | null;
  readonly step: string | null;
}

type Decided = Pick<ResumeAnswer, "step" | "applied" | "reason">;

function resume(
  { engine, actor, intentId, idempotency }: Operation,
  name: string,
  expectedGeneration: number | null,
  decide: (draft: Draft) => Decided,
): Promise<ResumeAnswer> {
  return engine.commits.submit<ResumeAnswer>({
    name,
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: "all" }],
    ...(idempotency === null ? {} : { idempotency }),
    decide(work) {
      const known = work.seen(intentId, actor);
      const earlier = known === undefined ? undefined : findReplay(work, idempotency);
      if (known !== undefined && earlier !== undefined) {
        const { applied, reason, step } = earlier.response.parse() as Told;
        const steps = work.peek(intentId)?.steps;
        return {
          intent: known,
          applied,
          reason,
          step: (step === null ? undefined : steps?.get(step)) ?? null,
          replayed: true,
        };
      }
      if (known !== undefined && isStale(known, expectedGeneration))
        return {
          intent: known,
          step: null,
          applied: false,
          reason: "stale_policy_generation",
          replayed: false,
        };
      const answer = change(work, intentId, actor, (draft): ResumeAnswer => {
        requireHolderRight(actor, draft.intent);
        return { ...decide(draft), intent: draft.intent, replayed: false };
      });
      const { applied, reason, step } = answer;
      if (idempotency !== null)
        work.stageRecord({
          ...idempotency,
          intentId,
          response: RawJson.of({ applied, reason, step: step?.key ?? null }),
        });
      return answer;
    },
  });
}

/** A person's decision. Whoever repeats it is told that it stands, also without an Idempotency-Key. */
export const decideHumanTask = (
  operation: Operation,
  decision: Decision,
  expectedGeneration: number | null,
): Promise<ResumeAnswer> =>
  resume(operation, "decide_task", expectedGeneration, (draft) => ({
    ...decideTask(draft, decision),
    reason: null,
  }));

/** Lets an intent go on that waits for a signal, for time or for an approval. */
export const unblockIntent = (
  operation: Operation,
  about: { readonly step: string | null; readonly reason: string | null },
  expectedGeneration: number | null,
): Promise<ResumeAnswer> =>
  resume(operation, "unblock", expectedGeneration, (draft) => {
    const { step, why } = unblock(draft, about.step, about.reason);
    return { step, applied: why === null, reason: why };
  });

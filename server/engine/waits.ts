// Waiting on behalf of an agent, and what ends a wait from outside: signals and people. A wait that is satisfied already is
// done in the same commit.

import { type Signaled, signal } from "../domain/decide/signals.ts";
import { type Found, park } from "../domain/decide/waits.ts";
import type { Draft } from "../domain/draft.ts";
import type { Actor, Intent } from "../domain/intent.ts";
import { describeNext, nextDeclared } from "../domain/plan.ts";
import { RawJson } from "../domain/raw-json.ts";
import { Refusal } from "../domain/refusal.ts";
import type { Wait, WaitRequest } from "../domain/wait.ts";
import { ENDS_MAX_BYTES, type IdempotencyRef, type Workspace } from "../store/workspace.ts";
import { change, type Engine, fenced } from "./context.ts";
import { findReplay } from "./idempotency.ts";
import type { RecordStepAnswer } from "./work.ts";

const HEAD = 3;

export interface WaitInput {
  readonly key: string;
  readonly attempt: number;
  readonly wait: WaitRequest;
  readonly completeIntent: boolean;
}

export function waitAtStep(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: WaitInput,
): Promise<RecordStepAnswer> {
  const { key, attempt, wait, completeIntent } = input;
  return engine.commits.submit<RecordStepAnswer>({
    name: "wait",
    intents: [intentId],
    steps: [{ intentId, keys: [key], undone: HEAD }],
    ...(wait.kind === "signal" ? { signals: [{ intentId, name: wait.name, take: true }] } : {}),
    ...(wait.kind === "intents" ? { ends: wait.ids, bytes: ENDS_MAX_BYTES } : {}),
    decide: (work) =>
      fenced(work, intentId, actor, { attempt, operation: "step_waiting" }, (draft) => {
        const lookUp = (begun: Wait) => satisfied(work, draft, key, begun);
        const step = park(draft, key, {
          attempt,
          wait,
          completeIntent,
          stepsMax: engine.settings.stepsMax,
          lookUp,
        });
        const next = describeNext(draft.intent, nextDeclared(draft));
        return { intent: draft.intent, step, begun: null, next, status: draft.intent.status };
      }),
  });
}

/** What the wait asks for, if it is there; taking it is staged with the decision. */
function satisfied(work: Workspace, draft: Draft, key: string, wait: Wait): Found | undefined {
  const { id } = draft.intent;
  if (wait.kind === "intents") {
    const ends = endsOf(work, draft.intent, wait.ids);
    return ends === undefined ? undefined : { result: ends };
  }
  if (wait.kind !== "signal") return undefined;
  const next = work.nextSignal(id, wait.name);
  if (next === undefined) return undefined;
  work.stageTaken({ intentId: id, name: wait.name, no: next.no, takenBy: key });
  return { result: next.data, signal: next.no };
}

/** How all of these children ended, in the order asked for; undefined while one of them lives. */
export function endsOf(work: Workspace, parent: Intent, ids: readonly string[]): RawJson | undefined {
  const ends = ids.map((id) => {
    const end = work.endOf(id);
    if (end === undefined || end.parentId !== parent.id) {
      throw new Refusal(
        "not_a_child",
        `${id} is not a child of this intent; wait for intents that were sent with it as parent_intent_id`,
        { intent_id: id },
      );
    }
    return end;
  });
  if (ends.some((end) => end.status === null)) return undefined;
  const omitted = ends.reduce((sum, end) => sum + end.bytes, 0) > ENDS_MAX_BYTES;
  return RawJson.of(
    ends.map(({ id, status, result, error }) => ({
      intent_id: id,
      status,
      ...(omitted ? { result_omitted: true } : status === "COMPLETED" ? { result } : { error }),
    })),
  );
}

export interface SignalAnswer extends Signaled {
  readonly intent: Intent;
  readonly replayed: boolean;
}

export function signalIntent(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: { readonly name: string; readonly data: RawJson },
  idempotency: IdempotencyRef | null,
): Promise<SignalAnswer> {
  const { name, data } = input;
  return engine.commits.submit<SignalAnswer>({
    name: "signal",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: HEAD }],
    signals: [{ intentId, name, take: false }],
    ...(idempotency === null ? {} : { idempotency }),
    decide(work) {
      const earlier = findReplay(work, idempotency);
      const known = work.seen(intentId, actor);
      if (earlier !== undefined && known !== undefined)
        return { ...(earlier.response.parse() as Signaled), intent: known, replayed: true };
      const answer = change(work, intentId, actor, (draft) => {
        const signaled = signal(draft, { name, data, unread: work.unreadSignals(intentId, name) });
        work.stageSignal({ intentId, name, data, actor: actor.name, ...signaled });
        return { ...signaled, intent: draft.intent, replayed: false };
      });
      if (idempotency !== null) {
        const response = RawJson.of({ no: answer.no, takenBy: answer.takenBy });
        work.stageRecord({ ...idempotency, intentId, response });
      }
      return answer;
    },
  });
}

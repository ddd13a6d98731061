// Creating intents: one or many, all or nothing, once per idempotency key (I1, I11).

import { deliver } from "../domain/decide/attempt.ts";
import { create, type NewIntent } from "../domain/decide/create.ts";
import type { Draft } from "../domain/draft.ts";
import type { Actor, IntentData } from "../domain/intent.ts";
import type { Status } from "../domain/lifecycle.ts";
import { RawJson } from "../domain/raw-json.ts";
import { isClaimable, isOverdue } from "../domain/schedule.ts";
import type { SlotRef } from "../store/slots.ts";
import type { IdempotencyRef, Workspace } from "../store/workspace.ts";
import { bytesOf, type Engine } from "./context.ts";
import { findReplay } from "./idempotency.ts";

export interface Submission {
  readonly intent: NewIntent;
  readonly data: IntentData;
}

export interface Submitted {
  readonly intent_id: string;
  readonly status: Status;
  readonly created_at: string;
}

export interface SubmitAnswer {
  readonly intents: readonly Submitted[];
  readonly replayed: boolean;
}

/** A consumer that is free gets it in this same commit, without a way through the queue. */
function handOver(work: Workspace, draft: Draft, data: IntentData): void {
  const { intent } = draft;
  if (!isClaimable(intent) || isOverdue(intent, draft.now)) return;
  const slot = work.freeSlot(intent.toAgent, intent.intentType);
  if (slot === undefined) return;
  deliver(draft, { id: slot.consumerId, name: slot.name, explicitAck: slot.explicitAck });
  work.handOver(slot, data);
}

function slotsFor(engine: Engine, submissions: readonly Submission[]): SlotRef[] {
  const counts = new Map<string, number>();
  for (const { intent } of submissions) counts.set(intent.toAgent, (counts.get(intent.toAgent) ?? 0) + 1);
  return [...counts].flatMap(([address, count]) => engine.freeSlots(address, count));
}

/** An intent's rows take about so much without what its sender put into them. */
const ROW_BYTES = 1_000;

const sizeOf = ({ intent, data }: Submission): number =>
  ROW_BYTES + bytesOf(data.payload, data.metadata, intent.steps);

export function submitIntents(
  engine: Engine,
  actor: Actor,
  submissions: readonly Submission[],
  idempotency: IdempotencyRef | null,
): Promise<SubmitAnswer> {
  return engine.commits.submit<SubmitAnswer>({
    name: "submit",
    intents: [],
    slots: slotsFor(engine, submissions),
    bytes: submissions.reduce((sum, submission) => sum + sizeOf(submission), 0),
    ...(idempotency === null ? {} : { idempotency }),
    decide(work) {
      const earlier = findReplay(work, idempotency);
      if (earlier !== undefined)
        return { intents: (earlier.response.parse() as { intents: Submitted[] }).intents, replayed: true };
      const intents = submissions.map(({ intent, data }): Submitted => {
        const draft = create(intent, actor, work.now);
        const { status } = draft.intent;
        handOver(work, draft, data);
        work.stage(draft, data);
        return { intent_id: intent.id, status, created_at: new Date(work.now).toISOString() };
      });
      const first = intents[0];
      if (idempotency !== null && first !== undefined) {
        work.stageRecord({ ...idempotency, intentId: first.intent_id, response: RawJson.of({ intents }) });
      }
      return { intents, replayed: false };
    },
  });
}

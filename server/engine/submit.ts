// Creating intents: one or many, all or nothing, once per idempotency key (I1, I11).

import { deliver } from "../domain/decide/attempt.ts";
import { requireHolderRight } from "../domain/decide/authority.ts";
import { create, type NewIntent } from "../domain/decide/create.ts";
import { requireOpenAttempt } from "../domain/decide/fence.ts";
import type { Draft } from "../domain/draft.ts";
import type { Actor, IntentData } from "../domain/intent.ts";
import { isTerminal, type Status } from "../domain/lifecycle.ts";
import { RawJson } from "../domain/raw-json.ts";
import { Refusal } from "../domain/refusal.ts";
import { isClaimable, isOverdue } from "../domain/schedule.ts";
import type { SessionRef } from "../store/load.ts";
import type { SlotRef } from "../store/slots.ts";
import type { IdempotencyRef, Workspace } from "../store/workspace.ts";
import { bytesOf, type Engine } from "./context.ts";
import { findReplay } from "./idempotency.ts";

export interface Born {
  readonly intent: NewIntent;
  readonly data: IntentData;
}

export interface Submission extends Born {
  /** The sender's attempt at the parent; null for whoever does not hold it. */
  readonly parentAttempt: number | null;
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

/** Creates it in this commit, and hands it to whoever is free; answers the status it was born with. */
export function bear(work: Workspace, actor: Actor, { intent, data }: Born, paused = false): Status {
  const draft = create(intent, actor, work.now, paused);
  const { status } = draft.intent;
  handOver(work, draft, data);
  work.stage(draft, data);
  return status;
}

export function slotsFor(engine: Engine, submissions: readonly Born[]): SlotRef[] {
  const counts = new Map<string, number>();
  for (const { intent } of submissions) counts.set(intent.toAgent, (counts.get(intent.toAgent) ?? 0) + 1);
  return [...counts].flatMap(([address, count]) => engine.freeSlots(address, count));
}

/** A child is born only while its parent lives, and from its handler only while that holds it: else it would be an orphan (W3). */
function adopt(work: Workspace, actor: Actor, submission: Submission): void {
  const { parentAttempt } = submission;
  const { parentId } = submission.intent;
  if (parentId === null) return;
  if (work.seen(parentId, actor) === undefined) {
    throw new Refusal("parent_not_found", `there is no intent ${parentId} to be the parent`, {
      intent_id: parentId,
    });
  }
  const draft = work.open(parentId, actor);
  if (parentAttempt !== null) {
    requireHolderRight(actor, draft.intent);
    requireOpenAttempt(draft, parentAttempt);
  }
  if (isTerminal(draft.intent.status)) {
    throw new Refusal(
      "parent_terminal",
      `the parent ${parentId} has already ended as ${draft.intent.status}`,
      {
        intent_id: parentId,
        status: draft.intent.status,
      },
    );
  }
  if (draft.intent.hasChildren) return;
  draft.intent.hasChildren = true;
  work.stage(draft);
}

const parentsOf = (submissions: readonly Submission[]): string[] => [
  ...new Set(submissions.flatMap(({ intent }) => intent.parentId ?? [])),
];

const sessionOf = ({ session, sessionNamespace }: IntentData): SessionRef | null =>
  session === null || sessionNamespace === null ? null : { namespace: sessionNamespace, name: session };

const sessionsOf = (submissions: readonly Submission[]): SessionRef[] =>
  submissions.flatMap(({ data }) => sessionOf(data) ?? []);

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
    intents: parentsOf(submissions),
    sessions: sessionsOf(submissions),
    slots: slotsFor(engine, submissions),
    bytes: submissions.reduce((sum, submission) => sum + sizeOf(submission), 0),
    ...(idempotency === null ? {} : { idempotency }),
    decide(work) {
      const earlier = findReplay(work, idempotency);
      if (earlier !== undefined)
        return { intents: (earlier.response.parse() as { intents: Submitted[] }).intents, replayed: true };
      const intents = submissions.map((submission): Submitted => {
        const { intent, data } = submission;
        adopt(work, actor, submission);
        const session = sessionOf(data);
        const paused = session !== null && work.isSessionPaused(session.namespace, session.name);
        const status = bear(work, actor, submission, paused);
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

// Scenarios that the server leads: applied in one commit with their first step, and led on in one commit for each step that
// follows. What is next is in the rows, so that whichever server finds it due goes on from there.

import { conduct } from "../domain/decide/conduct.ts";
import { create } from "../domain/decide/create.ts";
import { newId } from "../domain/ids.ts";
import { type Actor, type IntentData, SERVER } from "../domain/intent.ts";
import { encodeJson, RawJson } from "../domain/raw-json.ts";
import type { AgentStep, Scenario } from "../domain/scenario.ts";
import { isConductible, isOverdue } from "../domain/schedule.ts";
import { findIntents } from "../store/queries/intents.ts";
import type { IdempotencyRef, Workspace } from "../store/workspace.ts";
import { bytesOf, type Engine } from "./context.ts";
import { findReplay } from "./idempotency.ts";
import { type Born, bear, type SubmitAnswer, type Submitted, slotsFor } from "./submit.ts";

/** What all children of a scenario have of their parent. */
interface Origin {
  readonly data: IntentData;
  readonly sentBy: string | null;
}

function childOf({ data, sentBy }: Origin, scenario: Scenario, step: AgentStep, id: string): Born {
  const { address } = step;
  const payload = {
    parent_payload: data.payload,
    scenario_id: scenario.id,
    step_id: step.key,
    ...(step.toolId === "" ? {} : { tool_id: step.toolId }),
    ...(step.input == null ? {} : { input: step.input }),
  };
  return {
    intent: {
      id,
      namespace: address.namespace,
      toAgent: address.canonical,
      sentBy,
      intentType: scenario.intentType,
      priority: 0,
      deliverAt: null,
      deadlineAt: null,
      ttlMs: null,
      maxDeliveryAttempts: scenario.maxDeliveryAttempts,
      attemptTimeoutMs: step.timeoutMs,
      onInterrupt: null,
      retry: null,
      steps: [],
      parentId: data.id,
      humanTask: null,
      keepVersions: null,
      retainMs: null,
    },
    data: {
      ...data,
      id,
      namespace: address.namespace,
      toAgent: address.canonical,
      toAgentAsSent: step.addressAsSent,
      payload: new RawJson(encodeJson(payload)),
      metadata: { ...data.metadata, scenario_id: scenario.id, step_id: step.key },
      correlationId: null,
      parentIntentId: data.id,
      parentStep: step.key,
      detached: false,
      replyTo: null,
      replyToAddress: null,
      scenario: null,
    },
  };
}

/** Births what the next step needs; the parent's draft is decided, and staged by the caller. */
function bearChild(work: Workspace, origin: Origin, scenario: Scenario, step: AgentStep, id: string): void {
  bear(work, SERVER, childOf(origin, scenario, step, id));
}

/** The parent and the first step of its scenario, all or nothing. */
export function applyScenario(
  engine: Engine,
  actor: Actor,
  parent: Born,
  scenario: Scenario,
  idempotency: IdempotencyRef | null,
): Promise<SubmitAnswer> {
  const origin = { data: parent.data, sentBy: parent.intent.sentBy };
  const childId = newId();
  const first = scenario.steps.find((step) => step.key === scenario.entry);
  const births = first?.kind === "agent" ? [parent, childOf(origin, scenario, first, childId)] : [parent];
  return engine.commits.submit<SubmitAnswer>({
    name: "apply_scenario",
    intents: [],
    slots: slotsFor(engine, births),
    bytes: bytesOf(...births.map(({ data }) => data.payload), parent.data.scenario),
    ...(idempotency === null ? {} : { idempotency }),
    decide(work) {
      const earlier = findReplay(work, idempotency);
      if (earlier !== undefined)
        return { intents: (earlier.response.parse() as { intents: Submitted[] }).intents, replayed: true };
      const draft = create(parent.intent, actor, work.now);
      const step = conduct(draft, scenario, childId);
      work.stage(draft, parent.data);
      if (step !== null) bearChild(work, origin, scenario, step, childId);
      const created_at = new Date(work.now).toISOString();
      const intents = [{ intent_id: parent.intent.id, status: draft.intent.status, created_at }];
      if (idempotency !== null)
        work.stageRecord({
          ...idempotency,
          intentId: parent.intent.id,
          response: RawJson.of({ intents }),
        });
      return { intents, replayed: false };
    },
  });
}

/** Goes on with an intent that the server leads; false when there is nothing to do. */
export async function conductIntent(engine: Engine, intentId: string): Promise<boolean> {
  const record = (await findIntents(engine.store, [intentId])).get(intentId);
  const scenario = record?.data.scenario?.parse() as Scenario | undefined;
  if (record === undefined || scenario === undefined) return false;
  const origin = { data: record.data, sentBy: record.intent.sentBy };
  const childId = newId();
  return engine.commits.submit({
    name: "conduct",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: "all" }],
    bytes: bytesOf(record.data.payload),
    decide(work) {
      if (!work.has(intentId)) return false;
      const draft = work.open(intentId, SERVER);
      // Its deadline has the last word, and that is the timers'.
      if (!isConductible(draft.intent) || isOverdue(draft.intent, work.now)) return false;
      const step = conduct(draft, scenario, childId);
      work.stage(draft);
      if (step !== null) bearChild(work, origin, scenario, step, childId);
      return true;
    },
  });
}

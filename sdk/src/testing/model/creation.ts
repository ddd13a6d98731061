// Owns: the birth of an intent: a child only while its parent lives, and from whoever holds that.
import { randomId } from "../../environment.ts";
import type { Wire } from "../../intents.ts";
import { requireOpen } from "./attempts.ts";
import { isOver, log, type Model, type ModelIntent, refusal } from "./shapes.ts";
import { planned } from "./steps.ts";
import { assign } from "./waits.ts";

/** `org/workspace/name`, by which addresses are compared. */
export function canonical(address: string): string {
  const parts = decodeURIComponent(address.replace(/^agent:\/\//i, "")).split("/");
  if (parts.length === 1) return `local/dev/${parts[0]}`;
  return parts.length === 2 ? `${parts[0]}/default/${parts[1]}` : parts.join("/");
}

/** All of them or none. */
export function create(model: Model, bodies: readonly Wire[]): Wire[] {
  for (const body of bodies) adopt(model, body);
  return bodies.map((body) => {
    const intent = bear(model, body);
    return {
      intent_id: intent.id,
      status: intent.status,
      created_at: new Date(intent.createdAt).toISOString(),
    };
  });
}

function adopt(model: Model, { parent_intent_id, parent_attempt }: Wire): void {
  if (parent_intent_id == null) return;
  const parent = model.intents.get(parent_intent_id);
  if (parent === undefined)
    throw refusal("parent_not_found", `there is no intent ${parent_intent_id} to be the parent`);
  if (parent_attempt != null) requireOpen(model, parent, parent_attempt, "create");
  if (isOver(parent)) throw refusal("parent_terminal", `the parent has already ended as ${parent.status}`);
}

function bear(model: Model, sent: Wire): ModelIntent {
  const now = model.now();
  const dueAt = sent.deliver_at == null ? null : Date.parse(sent.deliver_at);
  const plan: (string | Wire)[] = sent.steps ?? [];
  const intent: ModelIntent = {
    id: randomId(),
    sent,
    address: canonical(sent.to_agent),
    createdAt: now,
    steps: new Map(),
    log: [],
    signals: [],
    checkpoints: new Map(),
    status: "CREATED",
    reason: null,
    attempt: 0,
    holder: null,
    started: false,
    deliveredAt: 0,
    strikes: 0,
    totalLosses: 0,
    retriesUsed: 0,
    releases: 0,
    planBy: plan.length > 0 ? "sender" : null,
    openSteps: [],
    availableAt: dueAt !== null && dueAt > now ? dueAt : null,
    deadlineAt: sent.ttl_seconds == null ? null : now + sent.ttl_seconds * 1_000,
    refusedAttempt: 0,
    ending: null,
    result: null,
    error: null,
  };
  plan.forEach((step, position) => {
    const one = planned(step, position);
    intent.steps.set(one.key, one);
  });
  model.intents.set(intent.id, intent);
  log(model, intent, "created", { intent_type: sent.intent_type, to_agent: sent.to_agent });
  intent.status = "SUBMITTED";
  log(model, intent, "submitted");
  if (sent.human_task != null) assign(model, intent, sent.human_task);
  return intent;
}

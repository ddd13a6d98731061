// The birth of an intent: once per key, a child only while its parent lives and from whoever holds that.

import { isOpen } from "./attempts.ts";
import { log } from "./log.ts";
import { isOver } from "./queue.ts";
import type { CreateBody, Model, ModelIntent, Op, Verdict } from "./shapes.ts";
import { newStep } from "./steps.ts";
import { assign } from "./waits.ts";

export function create(model: Model, op: Extract<Op, { op: "create" }>): Verdict {
  const text = JSON.stringify(op.body);
  const known = model.keys.find((one) => one.key === op.key);
  if (known !== undefined) return known.body === text ? "replayed" : "idempotency_mismatch";
  const refused = refusedByParent(model, op);
  if (refused !== null) return refused;
  const intent = newIntent(model, op.body, op.id);
  log(intent, "created");
  intent.status = "SUBMITTED";
  log(intent, "submitted");
  if (op.body.humanTask) {
    intent.steps.push(newStep("human_task", false, 0));
    assign(intent, "human_task");
  }
  model.intents.push(intent);
  model.keys.push({ key: op.key, body: text, intent: model.intents.length - 1, at: model.now });
  return "ok";
}

function refusedByParent(
  model: Model,
  { body, parentAttempt }: Extract<Op, { op: "create" }>,
): string | null {
  if (body.parent === null) return null;
  const parent = model.intents[body.parent.of];
  if (parent === undefined) return "parent_not_found";
  if (parentAttempt !== null && !isOpen(parent, parentAttempt)) return "stale_attempt";
  return isOver(parent) ? "parent_terminal" : null;
}

function newIntent(model: Model, body: CreateBody, id: string): ModelIntent {
  const delayed = body.delayMs === null ? null : model.now + body.delayMs;
  return {
    id,
    address: body.address,
    status: "CREATED",
    attempt: 0,
    generation: 0,
    holder: null,
    begun: false,
    strikes: 0,
    retriesUsed: 0,
    releases: 0,
    paused: false,
    priority: body.priority,
    queueAt: delayed ?? model.now,
    availableAt: delayed,
    chosenDelay: null,
    deliverAt: delayed,
    deadlineAt: body.ttlMs === null ? null : model.now + body.ttlMs,
    deliveredAt: 0,
    plan: body.steps > 0,
    steps: Array.from({ length: body.steps }, (_, n) => newStep(`s${n + 1}`, true, 0)),
    parkedOn: [],
    reason: null,
    refusedAttempt: 0,
    ending: null,
    result: null,
    error: null,
    maxDeliveries: body.maxDeliveries,
    onInterrupt: body.onInterrupt,
    maxRetries: body.maxRetries,
    attemptTimeoutMs: body.attemptTimeoutMs,
    parent: body.parent,
    doomed: false,
    signals: [],
    checkpoints: [],
    state: {},
    log: [],
    past: [],
  };
}

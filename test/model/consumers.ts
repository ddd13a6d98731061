// Consumers: their streams open and close, and their leases run out.

import { lose } from "./attempts.ts";
import { heldBy } from "./queue.ts";
import {
  GRACE_MS,
  LEASE_MS,
  type Model,
  type ModelConsumer,
  type ModelIntent,
  type Op,
  type Verdict,
} from "./shapes.ts";

/** The same incarnation comes back to what it holds; another one proves the old process dead (D5). */
export function connect(model: Model, op: Extract<Op, { op: "connect" }>): Verdict {
  const consumer = model.consumers[op.c] as ModelConsumer;
  const over = consumer.leaseUntil === null || consumer.leaseUntil <= model.now;
  if (op.restart) consumer.incarnation += 1;
  if (op.restart || over) for (const intent of heldInOrder(model, consumer)) lose(model, intent);
  consumer.open = true;
  consumer.leaseUntil = model.now + LEASE_MS;
  return "ok";
}

export function cut(model: Model, c: number): Verdict {
  const consumer = model.consumers[c] as ModelConsumer;
  consumer.open = false;
  consumer.leaseUntil = Math.min(consumer.leaseUntil ?? 0, model.now + GRACE_MS);
  return "ok";
}

export function expire(model: Model, c: number): Verdict {
  const consumer = model.consumers[c] as ModelConsumer;
  if (consumer.open || consumer.leaseUntil === null || consumer.leaseUntil > model.now) return "nothing";
  for (const intent of heldInOrder(model, consumer)) lose(model, intent);
  consumer.leaseUntil = null;
  return "ok";
}

const heldInOrder = (model: Model, consumer: ModelConsumer): ModelIntent[] =>
  heldBy(model, consumer.name).sort((a, b) => (a.id < b.id ? -1 : 1));

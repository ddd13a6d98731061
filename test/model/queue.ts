// Who may get what: the queue of an address, and the room that consumers have.

import type { Model, ModelConsumer, ModelIntent } from "./shapes.ts";

const TERMINAL: readonly string[] = ["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"];
export const isOver = (intent: ModelIntent): boolean => TERMINAL.includes(intent.status);

/** Whether a consumer may take it now. */
export function isWaitingInQueue(intent: ModelIntent): boolean {
  return (
    intent.holder === null &&
    !intent.paused &&
    intent.availableAt === null &&
    intent.status !== "WAITING" &&
    !isOver(intent)
  );
}

export const heldBy = (model: Model, consumer: string): ModelIntent[] =>
  model.intents.filter((intent) => intent.holder === consumer);

export const hasRoom = (model: Model, consumer: ModelConsumer): boolean =>
  consumer.open && heldBy(model, consumer.name).length < consumer.capacity;

/** The queue of an address: strict priority, then the time of arrival, then the id. */
export function queueOf(model: Model, address: string): ModelIntent[] {
  return model.intents
    .filter((intent) => intent.address === address && isWaitingInQueue(intent))
    .sort((a, b) => b.priority - a.priority || a.queueAt - b.queueAt || (a.id < b.id ? -1 : 1));
}

/** What has to be delivered before anything else happens: the queue's head, as long as somebody has room (I7). */
export function owed(model: Model): ModelIntent[] {
  const addresses = [...new Set(model.intents.map((intent) => intent.address))];
  return addresses.flatMap((address) => {
    const room = model.consumers
      .filter((consumer) => consumer.address === address && consumer.open)
      .reduce((sum, consumer) => sum + consumer.capacity - heldBy(model, consumer.name).length, 0);
    return queueOf(model, address).slice(0, Math.max(0, room));
  });
}

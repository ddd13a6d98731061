// Reads how every intent is in the end, for the judge.

import type { Final } from "../../judge/finals.ts";
import type { World } from "./world.ts";

export async function readFinals(world: World): Promise<Final[]> {
  const intents = await world.query(
    `select i.id, i.status, i.attempt, i.strikes, i.max_delivery_attempts, d.payload, o.result,
        d.parent_intent_id, d.parent_step, array(select name from checkpoints c where c.intent_id = i.id) as checkpoints
      from intents i join intent_data d on d.id = i.id left join outcomes o on o.intent_id = i.id`,
  );
  const events = await world.query(
    "select intent_id, seq, type, status, attempt, details from events order by intent_id, seq",
  );
  const steps = await world.query("select intent_id, key, status, result from steps");
  const eventsOf = groupByIntent(events);
  const stepsOf = groupByIntent(steps);
  return intents.map((row) => ({
    id: row.id,
    status: row.status,
    attempt: row.attempt,
    lostDeliveries: row.strikes,
    maxDeliveryAttempts: row.max_delivery_attempts,
    payload: row.payload,
    result: row.result,
    parentId: row.parent_intent_id,
    parentStep: row.parent_step,
    checkpoints: row.checkpoints,
    events: (eventsOf.get(row.id) ?? []).map((event) => ({
      seq: Number(event.seq),
      type: String(event.type).replace("intent.", ""),
      status: String(event.status),
      attempt: event.attempt === null ? null : Number(event.attempt),
      details: event.details as Final["events"][number]["details"],
    })),
    steps: (stepsOf.get(row.id) ?? []).map((step) => ({
      key: String(step.key),
      status: String(step.status),
      result: step.result,
    })),
  }));
}

function groupByIntent<Row extends Record<string, unknown>>(rows: readonly Row[]): Map<unknown, Row[]> {
  const groups = new Map<unknown, Row[]>();
  for (const row of rows) {
    const group = groups.get(row.intent_id);
    if (group === undefined) groups.set(row.intent_id, [row]);
    else group.push(row);
  }
  return groups;
}

// Reads intents together with their steps, as of one moment: what an agent goes on from must not be half before a restore and half after.

import type { Step } from "../../domain/intent.ts";
import { encodeArray } from "../binary.ts";
import { type Store, withClient } from "../connection.ts";
import { toStep } from "../rows.ts";
import { BY_ID, type IntentRecord, type JoinedRow, toRecord } from "./intents.ts";

export interface WorkingSet {
  readonly record: IntentRecord;
  readonly steps: readonly Step[];
}

const STEPS = {
  name: "steps_of_intents",
  text: "select * from steps where intent_id = any($1::uuid[]) order by intent_id, position nulls last, started_at, key",
};

type StepRow = Parameters<typeof toStep>[0] & { readonly intent_id: string };

/** In one trip. */
export async function findWorkingSets(
  store: Store,
  ids: readonly string[],
): Promise<Map<string, WorkingSet>> {
  const values = [encodeArray("uuid", ids)];
  const [intents, steps] = await withClient(store.pool, async (client) => {
    const [, intents, steps] = await Promise.all([
      client.query("begin isolation level repeatable read read only"),
      client.query<JoinedRow>({ ...BY_ID, values }),
      client.query<StepRow>({ ...STEPS, values }),
      client.query("commit"),
    ]);
    return [intents.rows, steps.rows];
  });
  const sets = new Map(intents.map((row) => [row.id, { record: toRecord(row), steps: [] as Step[] }]));
  for (const row of steps) sets.get(row.intent_id)?.steps.push(toStep(row));
  return sets;
}

// Reads of an intent's past: its log for folding, its state as of an entry, its bookmarks, everything for an export.

import type { LogEntry } from "../../domain/fold.ts";
import { RawJson } from "../../domain/raw-json.ts";
import type { Store } from "../connection.ts";
import type { CheckpointsTable, EventsTable } from "../database.ts";
import { rawOrNull } from "../rows.ts";

/** Anything that runs a query: the pool, or a transaction's connection. */
export interface Queryable {
  query<Row extends object>(query: {
    name: string;
    text: string;
    values: unknown[];
  }): Promise<{ rows: Row[] }>;
}

type EntryRow = Pick<EventsTable, "seq" | "type" | "attempt" | "at" | "details"> & { result: string | null };

// Only what tells of steps; a result is taken out as it was written.
const ENTRIES = {
  name: "history_entries",
  text: `select seq, type, attempt, at, details, details -> 'result' as result from events
    where intent_id = $1 and seq <= $2 and type in ('intent.created', 'intent.in_progress', 'intent.step_running',
      'intent.step_done', 'intent.step_failed', 'intent.step_interrupted', 'intent.step_waiting', 'intent.step_decided',
      'intent.released', 'intent.retried', 'intent.restored') order by seq`,
};

export async function readEntries(db: Queryable, intentId: string, upTo: number): Promise<LogEntry[]> {
  const { rows } = await db.query<EntryRow>({ ...ENTRIES, values: [intentId, upTo] });
  return rows.map(({ seq, type, attempt, at, details, result }) => ({
    seq,
    type,
    attempt,
    at,
    details: details === null ? null : JSON.parse(details),
    result: rawOrNull(result),
  }));
}

export interface PastState {
  readonly key: string;
  /** Null: it had been deleted. */
  readonly value: RawJson | null;
}

const STATE = {
  name: "history_state",
  text: `select distinct on (w.write ->> 'key') w.write ->> 'key' as key, w.write -> 'value' as value
    from events e cross join lateral json_array_elements(e.details -> 'writes') with ordinality as w(write, place)
    where e.intent_id = $1 and e.seq <= $2 and e.type = 'intent.state_changed' and w.write ->> 'scope' = $3
    order by w.write ->> 'key', e.seq desc, w.place desc`,
};

/** An intent's own state after an entry of its log, read from the log: it is there however few versions are kept. */
export async function readPastState(
  db: Queryable,
  intentId: string,
  scope: string,
  upTo: number,
): Promise<PastState[]> {
  const { rows } = await db.query<{ key: string; value: string | null }>({
    ...STATE,
    values: [intentId, upTo, scope],
  });
  return rows.map(({ key, value }) => ({ key, value: value === null ? null : new RawJson(value) }));
}

export type Checkpoint = CheckpointsTable;

const CHECKPOINTS = {
  name: "checkpoints_of",
  text: "select * from checkpoints where intent_id = $1 order by seq desc, name limit $2",
};

export async function listCheckpoints(store: Store, intentId: string, limit: number): Promise<Checkpoint[]> {
  const { rows } = await store.pool.query<Checkpoint>({ ...CHECKPOINTS, values: [intentId, limit] });
  return rows;
}

const CHECKPOINT = {
  name: "checkpoint_by_name",
  text: "select * from checkpoints where intent_id = $1 and name = $2",
};

export async function findCheckpoint(
  db: Queryable,
  intentId: string,
  name: string,
): Promise<Checkpoint | undefined> {
  const { rows } = await db.query<Checkpoint>({ ...CHECKPOINT, values: [intentId, name] });
  return rows[0];
}

export async function removeCheckpoint(store: Store, intentId: string, name: string): Promise<boolean> {
  const result = await store.pool.query("delete from checkpoints where intent_id = $1 and name = $2", [
    intentId,
    name,
  ]);
  return result.rowCount === 1;
}

/** The children that these steps sent and that would go on without them. */
export async function childrenOfSteps(
  db: Queryable,
  parentId: string,
  steps: readonly string[],
): Promise<string[]> {
  if (steps.length === 0) return [];
  const { rows } = await db.query<{ id: string }>({
    name: "children_of_steps",
    text: "select id from intent_data where parent_intent_id = $1 and parent_step = any($2::text[]) order by id",
    values: [parentId, steps],
  });
  return rows.map((row) => row.id);
}

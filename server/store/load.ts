// Reads for deciding: locks consumers, then intents in id order, then (in later statements: after a lock wait the same statement
// would still see the old snapshot) the steps and idempotency keys that the decisions ask for.

import type { PoolClient } from "pg";
import type { TerminalStatus } from "../domain/lifecycle.ts";
import { RawJson } from "../domain/raw-json.ts";
import { encodeArray } from "./binary.ts";
import { CLOCK, type ClockRow } from "./clock.ts";
import type { HotRow, HotRows, LockedRow } from "./hot-rows.ts";
import { rawOrNull, toIntent, toStep } from "./rows.ts";
import { askForSlots, type SlotsAsked } from "./slots.ts";
import { ENDS_MAX_BYTES, type End, type IdempotencyRef, type Workspace } from "./workspace.ts";

export interface StepNeeds {
  readonly intentId: string;
  readonly keys: readonly string[];
  /** How many undone declared steps from the plan's head on; `all` loads every step. */
  readonly undone: number | "all";
}

const LOCK = {
  name: "intents_lock",
  text: "select * from intents where id = any($1::uuid[]) order by id for update",
};

// In front of those that are read, whose rows are then in a later statement's sight.
const LOCK_ONLY = {
  name: "intents_lock_only",
  text: `select id, xmin::text::bigint as written_by, seq, updated_at from intents
    where id = any($1::uuid[]) order by id for update`,
};

const LOCKED = { name: "intents_locked", text: "select * from intents where id = any($1::uuid[])" };

const LOCK_FREE = {
  name: "intents_lock_free",
  text: "select * from intents where id = any($1::uuid[]) order by id for update skip locked",
};

// The running steps, the steps asked for by name, and the head of the plan; results only of those named.
const STEPS = {
  name: "steps_load",
  text: `select s.intent_id, s.key, s.position, s.title, s.status, s.generation, s.attempt, s.tries, s.interrupted, s.on_interrupt,
      s.timeout_ms, s.retry, s.started_at, s.finished_at, s.seq, s.input, s.result, s.error, s.wait
    from unnest($1::uuid[], $2::text[]) as n(intent_id, key)
    join steps s on s.intent_id = n.intent_id and s.key = n.key
  union all
    select s.intent_id, s.key, s.position, s.title, s.status, s.generation, s.attempt, s.tries, s.interrupted, s.on_interrupt,
      s.timeout_ms, s.retry, s.started_at, s.finished_at, s.seq, s.input, null::json, s.error, s.wait
    from unnest($3::uuid[], $4::int4[]) as w(id, head)
    join intents i on i.id = w.id
    cross join lateral (
      (select * from steps o where o.intent_id = i.id and o.key = any(i.open_steps))
      union all
      (select * from steps h where h.intent_id = i.id and h.position >= i.plan_cursor and w.head > 0
        and h.status not in ('done', 'superseded') and not h.key = any(i.open_steps)
        order by h.position limit w.head)) s`,
};

const ALL_STEPS = {
  name: "steps_load_all",
  text: "select * from steps where intent_id = any($1::uuid[])",
};

const RECORDS = {
  name: "idempotency_load",
  text: `select r.namespace, r.sender, r.operation, r.key, r.fingerprint, r.intent_id, r.response
    from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as w(namespace, sender, operation, key)
    join idempotency_keys r using (namespace, sender, operation, key)`,
};

const text = (values: readonly string[]) => encodeArray("text", values);
const uuids = (values: readonly string[]) => encodeArray("uuid", values);

type Loaded = Promise<{ rows: unknown[] }>;

/** A promise whose failure is looked at later, when the whole pipeline is awaited. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

export interface HeadRef {
  readonly namespace: string;
  readonly scope: string;
  readonly key: string;
}

// The unread ones of a name, oldest first, and how many there are.
const SIGNALS = {
  name: "signals_load",
  text: `select w.intent_id, w.name, u.unread, s.no, s.data
    from unnest($1::uuid[], $2::text[], $3::int4[]) as w(intent_id, name, head)
    cross join lateral (select count(*)::int as unread from signals c
      where c.intent_id = w.intent_id and c.name = w.name and c.taken_by is null) u
    left join lateral (select q.no, q.data from signals q
      where q.intent_id = w.intent_id and q.name = w.name and q.taken_by is null order by q.no limit w.head) s on true`,
};

// How other intents ended. Each wait asks for its own: what it may carry does not depend on who shares the commit.
const ENDS = {
  name: "ends_load",
  text: `select e.id, e.parent_id, e.status, e.error, e.bytes, case when e.total <= $3 then e.result end as result
    from (select i.id, i.parent_id, o.status, o.result, o.error, b.bytes, sum(b.bytes) over (partition by w.wait)::float8 as total
      from unnest($1::int4[], $2::uuid[]) as w(wait, id) join intents i on i.id = w.id
      left join outcomes o on o.intent_id = i.id
      cross join lateral (select (coalesce(octet_length(o.result::text), 0) + coalesce(octet_length(o.error::text), 0))::float8 as bytes) b) e`,
};

// A session is there from its first intent on, and is held as it is until that intent is.
const SESSIONS_ADD = {
  name: "sessions_add",
  text: `insert into sessions (namespace, name, created_at)
    select n.namespace, n.name, perdure_now() from unnest($1::text[], $2::text[]) as n(namespace, name) order by 1, 2
    on conflict do nothing`,
};
const SESSIONS = {
  name: "sessions_load",
  text: `select namespace, name, paused from sessions
    where (namespace, name) in (select * from unnest($1::text[], $2::text[])) order by namespace, name for share`,
};

// Locked in the order of their key, behind the intents: every writer takes them in the same order.
const HEADS = {
  name: "state_heads_lock",
  text: `select namespace, scope, key, version, deleted from state_heads
    where (namespace, scope, key) in (select * from unnest($1::text[], $2::text[], $3::text[]))
    order by namespace, scope, key for update`,
};

interface HeadRow extends HeadRef {
  version: number;
  deleted: boolean;
}

export interface SignalNeeds {
  readonly intentId: string;
  readonly name: string;
  /** Whether one may be taken. */
  readonly take: boolean;
}

export interface SessionRef {
  readonly namespace: string;
  readonly name: string;
}

interface SignalRow {
  intent_id: string;
  name: string;
  unread: number;
  no: number | null;
  data: string | null;
}

interface EndRow {
  id: string;
  parent_id: string | null;
  status: TerminalStatus | null;
  result: string | null;
  error: string | null;
  bytes: number;
}

export interface LoadRequest {
  readonly intents: readonly string[];
  readonly steps: readonly StepNeeds[];
  readonly records: readonly IdempotencyRef[];
  /** Leave out intents that another transaction holds, instead of waiting for them. */
  readonly skipLocked?: boolean;
  /** State keys whose heads are decided over. */
  readonly heads?: readonly HeadRef[];
  /** Consumers that a new intent may be handed to. */
  readonly slots?: SlotsAsked;
  readonly signals?: readonly SignalNeeds[];
  /** For each wait, the intents of which it matters how they ended. */
  readonly ends?: readonly (readonly string[])[];
  /** Sessions that new intents belong to. */
  readonly sessions?: readonly SessionRef[];
  /** What need not be read, only locked. */
  readonly hotRows?: HotRows;
}

/** What was thought to be known was changed by somebody else: read again, it will be right. */
export class StaleRows extends Error {}

export interface LoadAnswer {
  /** Fills a workspace with what was read. */
  readonly fill: (work: Workspace) => void;
  readonly now: number;
  /** What an unknown outcome is looked up by, and rows are known by. */
  readonly clock: ClockRow;
}

/** Sends all reads at once behind whatever the caller has already sent (BEGIN). Rejects with StaleRows where a hot row was not what it is. */
export async function load(client: PoolClient, request: LoadRequest): Promise<LoadAnswer> {
  const sent: Loaded[] = [];
  const ask: Ask = (query, values) => {
    const promise = quiet(client.query({ ...query, values })) as Loaded;
    sent.push(promise);
    return promise;
  };
  const slots = request.slots?.refs.length ? quiet(askForSlots(client, request.slots)) : undefined;
  const sessions = request.sessions?.length ? askForSessions(ask, request.sessions) : undefined;
  const hot = hotOf(request);
  const { locked, intents } = askForIntents(ask, request, hot);
  const { partial, whole } = splitNeeds(request.steps.filter((need) => !hot.has(need.intentId)));
  const steps = partial.length > 0 ? ask(STEPS, stepParameters(partial)) : undefined;
  const allSteps = whole.length > 0 ? ask(ALL_STEPS, [uuids(whole.map((need) => need.intentId))]) : undefined;
  const wanted = request.heads ?? [];
  const heads = wanted.length > 0 ? ask(HEADS, headParameters(wanted)) : undefined;
  const records = request.records.length > 0 ? ask(RECORDS, recordParameters(request.records)) : undefined;
  const signals = request.signals?.length ? ask(SIGNALS, signalParameters(request.signals)) : undefined;
  const ends = request.ends?.length ? ask(ENDS, endParameters(request.ends)) : undefined;
  const clock = ask(CLOCK, []);
  await Promise.all(sent);
  const lockedRows = ((await locked)?.rows ?? []) as LockedRow[];
  const slotRows = (await slots) ?? [];
  const [time] = (await clock).rows as ClockRow[];
  if (time === undefined) throw new Error("the database told no time");
  if (request.hotRows?.forgetStale(hot, lockedRows, time)) throw new StaleRows();
  const intentRows = ((await intents)?.rows ?? []) as Parameters<typeof toIntent>[0][];
  const stepRows = [...((await steps)?.rows ?? []), ...((await allSteps)?.rows ?? [])] as (Parameters<
    typeof toStep
  >[0] & { intent_id: string })[];
  const headRows = ((await heads)?.rows ?? []) as HeadRow[];
  const signalRows = ((await signals)?.rows ?? []) as SignalRow[];
  const endRows = ((await ends)?.rows ?? []) as EndRow[];
  const sessionRows = ((await sessions)?.rows ?? []) as (SessionRef & { paused: boolean })[];
  const recordRows = ((await records)?.rows ?? []) as RecordRow[];
  return {
    now: time.now,
    clock: time,
    fill(work) {
      for (const { intent, steps } of hot.values()) work.holdWhole(intent, steps);
      for (const row of intentRows) work.hold(toIntent(row));
      // Named rows come first and carry results: the first one of a key wins.
      for (const row of stepRows)
        if (!work.peek(row.intent_id)?.steps.has(row.key)) work.holdStep(row.intent_id, toStep(row));
      for (const row of recordRows)
        work.holdRecord({ ...row, intentId: row.intent_id, response: new RawJson(row.response) });
      for (const row of headRows) work.holdHead(row.namespace, row.scope, row.key, row);
      for (const row of signalRows) {
        const signal =
          row.no === null || row.data === null ? null : { no: row.no, data: new RawJson(row.data) };
        work.holdSignals(row.intent_id, row.name, row.unread, signal);
      }
      for (const row of endRows) work.holdEnd(toEnd(row));
      for (const row of sessionRows) work.holdSession(row.namespace, row.name, row.paused);
      work.offer(slotRows);
    },
  };
}

type Ask = (query: { name: string; text: string }, values: unknown[]) => Loaded;

function hotOf({ intents, steps, hotRows }: LoadRequest): Map<string, HotRow> {
  const hot = new Map<string, HotRow>();
  if (hotRows === undefined) return hot;
  const needs = new Map<string, StepNeeds[]>();
  for (const need of steps) {
    const known = needs.get(need.intentId);
    if (known === undefined) needs.set(need.intentId, [need]);
    else known.push(need);
  }
  for (const id of intents) {
    const row = hotRows.find(id, needs.get(id) ?? []);
    if (row !== undefined) hot.set(id, row);
  }
  return hot;
}

/** All are locked in one statement, in the order of their ids. */
function askForIntents(
  ask: Ask,
  { intents, skipLocked }: LoadRequest,
  hot: ReadonlyMap<string, HotRow>,
): { locked?: Loaded; intents?: Loaded } {
  if (intents.length === 0) return {};
  if (hot.size === 0) return { intents: ask(skipLocked ? LOCK_FREE : LOCK, [uuids(intents)]) };
  const locked = ask(LOCK_ONLY, [uuids(intents)]);
  const cold = intents.filter((id) => !hot.has(id));
  return cold.length === 0 ? { locked } : { locked, intents: ask(LOCKED, [uuids(cold)]) };
}

const endParameters = (waits: readonly (readonly string[])[]): unknown[] => [
  encodeArray(
    "int4",
    waits.flatMap((ids, wait) => ids.map(() => wait)),
  ),
  uuids(waits.flat()),
  ENDS_MAX_BYTES,
];

const toEnd = (row: EndRow): End => ({
  id: row.id,
  parentId: row.parent_id,
  status: row.status,
  result: rawOrNull(row.result),
  error: rawOrNull(row.error),
  bytes: row.bytes,
});

function askForSessions(ask: Ask, refs: readonly SessionRef[]): Loaded {
  const distinct = [...new Map(refs.map((ref) => [JSON.stringify([ref.namespace, ref.name]), ref])).values()];
  const values = [text(distinct.map((ref) => ref.namespace)), text(distinct.map((ref) => ref.name))];
  void ask(SESSIONS_ADD, values);
  return ask(SESSIONS, values);
}

/** Every operation of the batch may take one of a name, so they add up. */
function signalParameters(needs: readonly SignalNeeds[]): Buffer[] {
  const heads = new Map<string, { intentId: string; name: string; head: number }>();
  for (const { intentId, name, take } of needs) {
    const id = JSON.stringify([intentId, name]);
    const known = heads.get(id) ?? { intentId, name, head: 0 };
    heads.set(id, { ...known, head: known.head + (take ? 1 : 0) });
  }
  const all = [...heads.values()];
  return [
    uuids(all.map((one) => one.intentId)),
    text(all.map((one) => one.name)),
    encodeArray(
      "int4",
      all.map((one) => one.head),
    ),
  ];
}

interface RecordRow extends IdempotencyRef {
  intent_id: string | null;
  response: string;
}

function splitNeeds(needs: readonly StepNeeds[]): { partial: StepNeeds[]; whole: StepNeeds[] } {
  const whole = needs.filter((need) => need.undone === "all");
  const wholeIds = new Set(whole.map((need) => need.intentId));
  return { whole, partial: needs.filter((need) => !wholeIds.has(need.intentId)) };
}

function stepParameters(needs: readonly StepNeeds[]): Buffer[] {
  const named = needs.flatMap((need) => need.keys.map((key) => ({ id: need.intentId, key })));
  const heads = new Map<string, number>();
  // Every operation of the batch may finish one step of the head, so they add up.
  for (const need of needs) heads.set(need.intentId, (heads.get(need.intentId) ?? 0) + Number(need.undone));
  return [
    uuids(named.map((n) => n.id)),
    text(named.map((n) => n.key)),
    uuids([...heads.keys()]),
    encodeArray("int4", [...heads.values()]),
  ];
}

function headParameters(refs: readonly HeadRef[]): Buffer[] {
  return [text(refs.map((r) => r.namespace)), text(refs.map((r) => r.scope)), text(refs.map((r) => r.key))];
}

function recordParameters(refs: readonly IdempotencyRef[]): Buffer[] {
  return [
    text(refs.map((r) => r.namespace)),
    text(refs.map((r) => r.sender)),
    text(refs.map((r) => r.operation)),
    text(refs.map((r) => r.key)),
  ];
}

// Proves the invariants from what clients asked and were told, and from the logs in the end. Knows nothing of the server
// but its documents.

import { judgeLog, type LogEvent, type Logged, type Violation } from "../../server/verify/log-rules.ts";
import type { Effect, Exchange, Json, Line, Told, Watched } from "./history.ts";

/** An intent as it is in the end. */
export interface Final extends Logged {
  readonly payload: Json;
  readonly result: unknown;
  readonly parentId?: string | null;
  /** The step of its parent that it was sent from. */
  readonly parentStep?: string | null;
  /** The names of its checkpoints. */
  readonly checkpoints?: readonly string[];
}

export interface Judgement {
  readonly violations: readonly Violation[];
  /** Acknowledged writes that are not there. */
  readonly lost: number;
  readonly operations: number;
}

/** A version of a state entry, as it is in the end. */
export interface FinalVersion {
  readonly scope: string;
  readonly key: string;
  readonly version: number;
  readonly value: unknown;
  /** The entry of its intent's log that says so. */
  readonly seq?: number | null;
}

export function judge(
  history: readonly Line[],
  finals: readonly Final[],
  state: readonly FinalVersion[] = [],
): Judgement {
  const byId = new Map(finals.map((final) => [final.id, final]));
  const exchanges = history.filter((line): line is Exchange => line.kind === "exchange");
  const answered = exchanges.filter((one) => one.status === 200);
  const acknowledged = [...answered.flatMap((one) => judgeAnswer(one, byId)), ...judgeKeys(answered, finals)];
  const waits = [...judgeSignalKeys(exchanges, byId), ...judgeChildWaits(exchanges, byId)];
  const told = history.filter((line): line is Told => line.kind === "told");
  const effects = history.filter((line): line is Effect => line.kind === "effect");
  const watched = history.filter((line): line is Watched => line.kind === "watched");
  const violations = [
    ...acknowledged,
    ...waits,
    ...judgeTold(told, byId),
    ...judgeEffects(effects, byId),
    ...judgeWatched(watched, byId),
    ...judgeState(answered, state),
    ...judgeBatches(exchanges, state),
    ...judgeRestoredState(finals, state),
    ...finals.flatMap(judgeTaken),
    ...finals.flatMap(judgeNewLives),
    ...finals.flatMap(judgeLog),
  ];
  return {
    violations,
    lost: violations.filter((one) => one.invariant === "I1").length,
    operations: exchanges.filter((one) => one.until !== null).length,
  };
}

const TERMINAL: readonly string[] = ["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"];

/** Everything that is not over: once all is healed and drained, and everybody got what they waited for, nothing may be left. */
export function judgeDrained(finals: readonly Final[]): Violation[] {
  return finals
    .filter((final) => !TERMINAL.includes(final.status))
    .map((final) => {
      const why = final.status === "WAITING" ? "all it waits for has come" : "agents are free";
      return violation("I7", final.id, `it is still ${final.status} although ${why}`);
    });
}

const violation = (invariant: string, intentId: string | null, message: string): Violation => ({
  invariant,
  intentId,
  message,
});

/** What a 2xx promised. */
function judgeAnswer(one: Exchange, byId: ReadonlyMap<string, Final>): Violation[] {
  const path = one.path.split("?")[0] ?? "";
  if (one.method === "POST" && path === "/v1/intents")
    return judgeCreated(one.answer?.intent_id, one.body, byId);
  if (one.method === "POST" && path === "/v1/intents/batch") {
    const bodies = (one.body?.intents ?? []) as Json[];
    return bodies.flatMap((body, n) => judgeCreated(one.answer?.intents?.[n]?.intent_id, body, byId));
  }
  const [, id = "", verb = "", key = ""] = /^\/v1\/intents\/([^/]+)\/?([^/]*)\/?([^/]*)/.exec(path) ?? [];
  const final = byId.get(id);
  if (final === undefined)
    return id === ""
      ? []
      : [violation("I1", id, `${one.method} ${path} was answered, and there is no such intent`)];
  if (one.method === "GET") return judgeRead(one, final);
  return judgeWrite(one, final, verb, decodeURIComponent(key));
}

function judgeCreated(
  id: string | undefined,
  body: Json | null,
  byId: ReadonlyMap<string, Final>,
): Violation[] {
  const final = byId.get(id ?? "");
  if (final === undefined) return [violation("I1", id ?? null, "an acknowledged create is not there")];
  const parent = body?.parent_intent_id ?? null;
  if (parent !== (final.parentId ?? null))
    return [violation("I1", final.id, `its parent is ${final.parentId}, not ${parent}`)];
  return JSON.stringify(final.payload) === JSON.stringify(body?.payload ?? {})
    ? []
    : [violation("I1", final.id, "its payload is not what was sent")];
}

function judgeRead(one: Exchange, final: Final): Violation[] {
  const { status, result } = one.answer ?? {};
  if (!TERMINAL.includes(status)) return [];
  // A retry or a restore may have made it end more than once.
  const ends = final.events.filter((entry) => entry.type === String(status).toLowerCase());
  if (ends.length === 0)
    return [violation("I1", final.id, `a reader was told ${status}, the log never says so`)];
  const same = status !== "COMPLETED" || ends.some((end) => sameJson(end.details?.result, result));
  return same ? [] : [violation("I3", final.id, "a reader was told another result than the log has")];
}

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

function judgeWrite(one: Exchange, final: Final, verb: string, key: string): Violation[] {
  const attempt = Number(one.body?.attempt);
  switch (verb) {
    case "steps":
      return judgeStepWrite(one, final, key, attempt);
    case "resolve":
      return expectEvent(
        final,
        one.body?.status === "COMPLETED" ? ["completed"] : ["failed", "retry_scheduled", "canceled"],
        attempt,
      );
    case "release":
      return expectEvent(final, ["released"], attempt);
    case "start":
      return expectEvent(final, ["in_progress", "delivered"], attempt);
    case "signals":
      return final.events.some(
        ({ type, seq, details }) =>
          type === "signaled" &&
          seq === one.answer?.seq &&
          details?.name === key &&
          sameJson(details?.data, one.body?.data),
      )
        ? []
        : [violation("I14", final.id, `an acknowledged signal ${key} is not in the log`)];
    case "restore":
      return final.events.some(
        ({ type, details }) =>
          type === "restored" &&
          details?.to === one.answer?.restored?.seq &&
          ["kept", "run_again", "superseded"].every((what) =>
            sameJson(details?.[what], one.answer?.restored?.[what]),
          ),
      )
        ? []
        : [violation("I1", final.id, "an acknowledged restore is not in the log")];
    case "resume":
      return final.events.some(
        ({ type, details }) =>
          type === "step_done" &&
          details?.key === one.answer?.step?.key &&
          details?.result?.outcome === one.body?.task_result?.outcome,
      )
        ? []
        : [violation("I1", final.id, "an acknowledged decision is not in the log")];
    case "checkpoints":
      return judgeCheckpoint(one, final, key);
    case "pause":
      return final.events.some((event) => event.type === "paused")
        ? []
        : [violation("I1", final.id, "an acknowledged pause is not in the log")];
    case "cancel":
      return final.events.some((event) => event.type === "canceled")
        ? []
        : [violation("I1", final.id, "an acknowledged cancel is not in the log")];
    default:
      return [];
  }
}

function judgeCheckpoint(one: Exchange, final: Final, name: string): Violation[] {
  if (one.method !== "PUT") return [];
  const { seq } = one.answer?.checkpoint ?? {};
  const logged = final.events.some(
    (event) => event.type === "checkpoint_named" && event.seq === seq && event.details?.name === name,
  );
  return logged && final.checkpoints?.includes(name)
    ? []
    : [violation("I1", final.id, `the acknowledged checkpoint ${name} is not there`)];
}

/** An operator's word about a step in doubt. */
const judgeDecided = (final: Final, key: string): Violation[] =>
  final.events.some((event) => event.type === "step_decided" && event.details?.key === key)
    ? []
    : [violation("I1", final.id, `the acknowledged decision about step ${key} is not in the log`)];

function judgeStepWrite(one: Exchange, final: Final, key: string, attempt: number): Violation[] {
  const records = final.events.filter((event) => event.type === "step_done" && event.details?.key === key);
  // A restore may have made it run again: the one that was answered is meant.
  const recorded =
    records.find((event) => sameJson(event.details?.result, one.answer?.step?.result)) ?? records[0];
  if (one.path.endsWith("/decide")) return judgeDecided(final, key);
  const status = String(one.body?.status);
  if (status === "done") {
    if (recorded === undefined)
      return [violation("I1", final.id, `the acknowledged result of step ${key} is not there`)];
    if (!sameJson(recorded.details?.result, one.answer?.step?.result))
      return [
        violation("I5", final.id, `step ${key} was answered with a result that is not the recorded one`),
      ];
    // Another attempt's record was answered: nothing of this write had to be kept.
    if (recorded.attempt !== attempt) return [];
    return expectEvent(final, ["step_done"], attempt, key);
  }
  if (recorded !== undefined && one.answer?.step?.status === "done") return [];
  if (status === "waiting" && one.answer?.step?.status === "failed") return [];
  const event = { failed: "step_failed", waiting: "step_waiting" }[status] ?? "step_running";
  return expectEvent(final, [event], attempt, key);
}

/** An accepted write left its event, written while its attempt was the open one (I1, I4). */
function expectEvent(final: Final, types: readonly string[], attempt: number, key?: string): Violation[] {
  const match = (event: LogEvent) =>
    types.includes(event.type) &&
    event.attempt === attempt &&
    (key === undefined || event.details?.key === key);
  if (final.events.some(match)) return [];
  const what = `an accepted ${types.join(" or ")}${key === undefined ? "" : ` of ${key}`} in attempt ${attempt} is not in the log`;
  // What another attempt did under the same name does not make it true: a late write was let in.
  const stale = final.attempt > attempt;
  return [violation(stale ? "I4" : "I1", final.id, what)];
}

/** A key names one intent, and an intent has one key (I11). */
function judgeKeys(answered: readonly Exchange[], finals: readonly Final[]): Violation[] {
  const found: Violation[] = [];
  const first = new Map<string, string>();
  for (const one of answered) {
    if (one.key === null || one.path.split("?")[0] !== "/v1/intents") continue;
    const id = String(one.answer?.intent_id);
    const known = first.get(one.key) ?? id;
    first.set(one.key, known);
    if (known !== id) found.push(violation("I11", id, `key ${one.key} was answered with two intents`));
  }
  return [...found, ...judgeMarks(finals)];
}

/** What is sent once is there once: by a sender for good, by a step once in each of its lives. */
function judgeMarks(finals: readonly Final[]): Violation[] {
  const byId = new Map(finals.map((final) => [final.id, final]));
  const marked = new Map<string, Final[]>();
  for (const final of finals) {
    if (typeof final.payload.mark !== "string") continue;
    const name = JSON.stringify([final.parentId ?? null, final.parentStep ?? null, final.payload.mark]);
    marked.set(name, [...(marked.get(name) ?? []), final]);
  }
  return [...marked.values()].flatMap((all) => {
    const [{ id, parentId, parentStep, payload }] = all as [Final];
    const log = byId.get(parentId ?? "")?.events ?? [];
    return all.length <= (parentStep == null ? 1 : livesOf(log, parentStep))
      ? []
      : [violation("I11", id, `the intent marked ${payload.mark} was created ${all.length} times`)];
  });
}

/** A restore that supersedes a step makes it another one to the world. */
const livesOf = (log: readonly LogEvent[], step: string): number =>
  1 + log.filter((event) => (event.details?.superseded ?? []).includes(step)).length;

/** One owner per attempt, and nobody is handed a step that is done (I5, I6). */
function judgeTold(told: readonly Told[], byId: ReadonlyMap<string, Final>): Violation[] {
  const owners = new Map<string, string>();
  return told.flatMap((frame) => {
    const name = `${frame.intentId} ${frame.attempt}`;
    const owner = `${frame.consumer}/${frame.incarnation}`;
    const known = owners.get(name) ?? owner;
    owners.set(name, known);
    const found: Violation[] = [];
    if (known !== owner)
      found.push(
        violation("I6", frame.intentId, `attempt ${frame.attempt} was given to ${known} and to ${owner}`),
      );
    const log = byId.get(frame.intentId)?.events ?? [];
    const delivered = log.find((event) => event.type === "delivered" && event.attempt === frame.attempt);
    if (delivered?.details?.consumer !== frame.consumer)
      found.push(
        violation(
          "I6",
          frame.intentId,
          `${frame.consumer} was told of attempt ${frame.attempt}, which the log gives to ${delivered?.details?.consumer ?? "nobody"}`,
        ),
      );
    for (const key of doneBy(log, frame.seq)) {
      if (!frame.doneSteps.includes(key))
        found.push(
          violation("I5", frame.intentId, `the frame of attempt ${frame.attempt} forgot that ${key} is done`),
        );
      if (frame.nextStep === key)
        found.push(
          violation(
            "I5",
            frame.intentId,
            `the frame of attempt ${frame.attempt} hands out ${key}, which is done`,
          ),
        );
    }
    return found;
  });
}

/** The steps that were done after an entry of the log, with what restores took back. */
function doneBy(log: readonly LogEvent[], seq: number): Set<string> {
  let done = new Set<string>();
  for (const event of log) {
    if (event.seq > seq) break;
    if (event.type === "step_done") done.add(String(event.details?.key));
    if (event.type === "restored") done = new Set(event.details?.kept ?? []);
  }
  return done;
}

/**
 * A step acts on the world only while it is begun, with one key for ever, and never by a delivery that came after its
 * result (I5, I13). An older attempt's process may wake up in the middle of it: that is what its key is for.
 */
function judgeEffects(effects: readonly Effect[], byId: ReadonlyMap<string, Final>): Violation[] {
  const seen = new Map<string, Effect[]>();
  for (const effect of effects) {
    const name = `${effect.intentId} ${effect.step}`;
    seen.set(name, [...(seen.get(name) ?? []), effect]);
  }
  return [...seen.values()].flatMap((all) => judgeStepEffects(all, byId.get(all[0]?.intentId ?? "")));
}

function judgeStepEffects(all: readonly Effect[], final: Final | undefined): Violation[] {
  const { intentId, step } = all[0] as Effect;
  const log = final?.events ?? [];
  const begun = log.filter((event) => event.type === "step_running" && event.details?.key === step).length;
  const lives = livesOf(log, step);
  const found: Violation[] = [];
  if (new Set(all.map((effect) => effect.idempotencyKey)).size > lives)
    found.push(
      violation(
        "I5",
        intentId,
        `step ${step} acted with ${lives === 1 ? "two" : "too many"} idempotency keys`,
      ),
    );
  if (all.some((effect) => wasDoneBefore(log, step, effect.attempt)))
    found.push(
      violation("I5", intentId, `step ${step} ran again in a delivery after its result was recorded`),
    );
  if (all.length > begun)
    found.push(
      violation("I13", intentId, `step ${step} acted ${all.length} times, and was begun ${begun} times`),
    );
  return found;
}

/** Whether the step was done already when this attempt was delivered. */
function wasDoneBefore(log: readonly LogEvent[], step: string, attempt: number): boolean {
  const delivered = log.find((event) => event.type === "delivered" && event.attempt === attempt);
  return delivered !== undefined && doneBy(log, delivered.seq).has(step);
}

/** A step that a restore superseded acts under a new key when it is begun again (S6). */
function judgeNewLives({ id, events }: Final): Violation[] {
  const found: Violation[] = [];
  for (const { seq, type, details } of events) {
    if (type !== "step_running" || !supersededBefore(events, seq).has(String(details?.key))) continue;
    const used = events.some(
      (event) =>
        event.seq < seq &&
        event.type === "step_running" &&
        event.details?.key === details?.key &&
        event.details?.idempotency_key === details?.idempotency_key,
    );
    if (used)
      found.push(
        violation("I5", id, `step ${details?.key} was superseded, and begun at ${seq} under its old key`),
      );
  }
  return found;
}

/** The steps that restores had superseded before an entry of the log, and that were not begun again since. */
function supersededBefore(events: readonly LogEvent[], seq: number): Set<string> {
  let superseded = new Set<string>();
  for (const event of events) {
    if (event.seq >= seq) break;
    if (event.type === "step_running") superseded.delete(String(event.details?.key));
    if (event.type !== "restored") continue;
    const to = Number(event.details?.to);
    const begun = new Set(
      events.filter((one) => one.seq <= to && one.type === "step_running").map((one) => one.details?.key),
    );
    const later = [...superseded, ...(event.details?.superseded ?? [])].filter((key) => !begun.has(key));
    superseded = new Set([...supersededBefore(events, to + 1), ...later]);
  }
  return superseded;
}

/** What a step got from a signal is what the signal brought (I14). */
function judgeTaken({ id, events }: Final): Violation[] {
  return events.flatMap(({ type, details }) => {
    if (type !== "step_done" || details?.signal == null) return [];
    const signal = events.find((event) => event.type === "signaled" && event.seq === details.signal);
    // One that was never there is for the log's own judge.
    return signal === undefined || sameJson(signal.details?.data, details.result)
      ? []
      : [violation("I14", id, `step ${details.key} took signal ${details.signal} with other data`)];
  });
}

const idIn = (path: string): string => path.split("/")[3] ?? "";

/** A signal that is sent again with its key is one signal (I11). */
function judgeSignalKeys(exchanges: readonly Exchange[], byId: ReadonlyMap<string, Final>): Violation[] {
  const keys = new Map<string, Set<string | null>>();
  for (const { method, path, key } of exchanges) {
    if (method !== "POST" || !/^\/v1\/intents\/[^/]+\/signals\//.test(path)) continue;
    keys.set(path, (keys.get(path) ?? new Set()).add(key));
  }
  return [...keys].flatMap(([path, asked]) => {
    const name = decodeURIComponent(path.split("/")[5] ?? "");
    const events = byId.get(idIn(path))?.events ?? [];
    const signals = events.filter((event) => event.type === "signaled" && event.details?.name === name);
    return asked.has(null) || signals.length <= asked.size
      ? []
      : [violation("I11", idIn(path), `${asked.size} signals ${name} were sent, ${signals.length} came`)];
  });
}

/** Whoever waited for children is told of all of them, in order, and how each of them did end (I3). */
function judgeChildWaits(exchanges: readonly Exchange[], byId: ReadonlyMap<string, Final>): Violation[] {
  const waited = new Map<string, readonly string[][]>();
  for (const { path, body } of exchanges) {
    const ids = body?.wait?.intents;
    if (ids !== undefined) waited.set(path, [...(waited.get(path) ?? []), ids]);
  }
  return [...waited].flatMap(([path, lists]) => {
    const key = decodeURIComponent(path.split("/")[5] ?? "");
    const done = (byId.get(idIn(path))?.events ?? []).filter(
      ({ type, details }) => type === "step_done" && details?.key === key,
    );
    return done
      .filter(({ details }) => {
        const told = details?.result as Json[];
        const asked = lists.some((ids) =>
          sameJson(
            ids,
            told.map((child) => child.intent_id),
          ),
        );
        return !asked || !told.every((child) => hasEndedSo(child, byId.get(child.intent_id)));
      })
      .map(() => violation("I3", idIn(path), `wait ${key} was told of ends that its children did not have`));
  });
}

function hasEndedSo(told: Json, child: Final | undefined): boolean {
  const ends = (child?.events ?? []).filter(
    (event) => event.type === String(told.status).toLowerCase() && event.status === told.status,
  );
  if (told.status !== "COMPLETED" || told.result_omitted === true) return ends.length > 0;
  return ends.some((end) => sameJson(end.details?.result, told.result));
}

/** An acknowledged write of state is a version of its own, with its value (I1, I9). */
function judgeState(answered: readonly Exchange[], state: readonly FinalVersion[]): Violation[] {
  const nameOf = (scope: unknown, key: unknown, version: unknown) => JSON.stringify([scope, key, version]);
  const stored = new Map(state.map((one) => [nameOf(one.scope, one.key, one.version), one]));
  const writers = new Map<string, string | null>();
  return answered.flatMap((one) => {
    if (one.method !== "PUT" || !one.path.startsWith("/v1/state/")) return [];
    const { scope, key, version } = one.answer?.entry ?? {};
    const name = nameOf(scope, key, version);
    const found: Violation[] = [];
    const final = stored.get(name);
    if (final === undefined || !sameJson(final.value, one.body?.value))
      found.push(
        violation(
          "I1",
          null,
          `version ${version} of ${key} in ${scope} was acknowledged and is not there as it was sent`,
        ),
      );
    const expected = Number(one.body?.if_version ?? 0);
    if (expected > 0 && version !== expected + 1)
      found.push(
        violation("I9", null, `a write over version ${expected} of ${key} in ${scope} became ${version}`),
      );
    // The same key again is the same write, whose first answer got lost.
    if (writers.has(name) && writers.get(name) !== one.key)
      found.push(violation("I9", null, `version ${version} of ${key} in ${scope} was given to two writers`));
    writers.set(name, one.key);
    return found;
  });
}

/** A commit of several entries is there as a whole or not at all, answered or not (I9). Its values carry its mark. */
function judgeBatches(exchanges: readonly Exchange[], state: readonly FinalVersion[]): Violation[] {
  const marked = new Set(
    state.map(({ scope, key, value }) => JSON.stringify([scope, key, (value as Json | null)?.mark ?? null])),
  );
  return exchanges.flatMap((one) => {
    if (one.method !== "POST" || one.path !== "/v1/state/commit") return [];
    const writes = ((one.body?.writes ?? []) as Json[]).filter((write) => write.value?.mark !== undefined);
    const there = writes.filter(({ scope, key, value }) =>
      marked.has(JSON.stringify([scope, key, value.mark])),
    );
    if (one.status === 200 && there.length < writes.length)
      return [violation("I1", null, `an acknowledged commit of ${writes.length} entries is not there`)];
    return there.length === 0 || there.length === writes.length
      ? []
      : [violation("I9", null, `${there.length} of ${writes.length} entries of one commit are there`)];
  });
}

const ASSIGNED_AGAIN = new Set(["step_waiting", "waiting", "human_task_assigned"]);

/** A restore gives an intent's own state the values it had then (S6). */
function judgeRestoredState(finals: readonly Final[], state: readonly FinalVersion[]): Violation[] {
  const byScope = new Map<string, FinalVersion[]>();
  for (const version of state) byScope.set(version.scope, [...(byScope.get(version.scope) ?? []), version]);
  return finals.flatMap(({ id, events }) => {
    const versions = byScope.get(`intent:${id}`) ?? [];
    return events.flatMap(({ type, seq, details }, index) => {
      if (type !== "restored") return [];
      // What it writes follows it in the log, in the same commit; a task that is assigned again comes first.
      const next = events.slice(index + 1).find((event) => !ASSIGNED_AGAIN.has(event.type));
      const written = next?.type === "state_changed" ? next.seq : seq;
      return sameJson(stateAt(versions, written), stateAt(versions, Number(details?.to)))
        ? []
        : [violation("I9", id, `after the restore at ${seq} its state is not what it was then`)];
    });
  });
}

/** Values by key, with neither what came later nor what was deleted. */
function stateAt(versions: readonly FinalVersion[], seq: number): [string, unknown][] {
  const heads = new Map<string, FinalVersion>();
  for (const one of versions) {
    if ((one.seq ?? 0) > seq) continue;
    if ((heads.get(one.key)?.version ?? 0) < one.version) heads.set(one.key, one);
  }
  return [...heads.values()]
    .filter((one) => one.value !== null)
    .map(({ key, value }): [string, unknown] => [key, value])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A watcher sees each event once, in order, as the log has it (I10). */
function judgeWatched(watched: readonly Watched[], byId: ReadonlyMap<string, Final>): Violation[] {
  const cursors = new Map<string, number>();
  return watched.flatMap((event) => {
    const cursor = cursors.get(event.watcher) ?? 0;
    cursors.set(event.watcher, event.seq);
    const found: Violation[] = [];
    if (event.seq !== cursor + 1)
      found.push(violation("I10", event.intentId, `a watcher was shown ${event.seq} after ${cursor}`));
    const logged = byId.get(event.intentId)?.events[event.seq - 1];
    if (logged?.type !== event.type)
      found.push(
        violation(
          logged === undefined ? "I1" : "I10",
          event.intentId,
          `a watcher was shown ${event.type} as ${event.seq}, the log has ${logged?.type ?? "nothing"} there`,
        ),
      );
    return found;
  });
}

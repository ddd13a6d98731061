// Proves the invariants from what clients asked and were told, and from the logs in the end. Knows nothing of the server
// but its documents.

import { judgeLog, type LogEvent, type Logged, type Violation } from "../../server/verify/log-rules.ts";
import type { Effect, Exchange, Json, Line, Told, Watched } from "./history.ts";

/** An intent as it is in the end. */
export interface Final extends Logged {
  readonly payload: Json;
  readonly result: unknown;
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
  const told = history.filter((line): line is Told => line.kind === "told");
  const effects = history.filter((line): line is Effect => line.kind === "effect");
  const watched = history.filter((line): line is Watched => line.kind === "watched");
  const violations = [
    ...acknowledged,
    ...judgeTold(told, byId),
    ...judgeEffects(effects, byId),
    ...judgeWatched(watched, byId),
    ...judgeState(answered, state),
    ...finals.flatMap(judgeLog),
  ];
  return {
    violations,
    lost: violations.filter((one) => one.invariant === "I1").length,
    operations: exchanges.filter((one) => one.until !== null).length,
  };
}

/** Everything that is neither over nor waiting for somebody: once all is healed and drained, nothing may be left. */
export function judgeDrained(finals: readonly Final[]): Violation[] {
  return finals
    .filter((final) => !["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT", "WAITING"].includes(final.status))
    .map((final) => ({
      invariant: "I7",
      intentId: final.id,
      message: `it is still ${final.status} although agents are free`,
    }));
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
  return JSON.stringify(final.payload) === JSON.stringify(body?.payload ?? {})
    ? []
    : [violation("I1", final.id, "its payload is not what was sent")];
}

function judgeRead(one: Exchange, final: Final): Violation[] {
  const { status, result } = one.answer ?? {};
  if (!["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"].includes(status)) return [];
  const event = final.events.find((entry) => entry.type === String(status).toLowerCase());
  if (event === undefined)
    return [violation("I1", final.id, `a reader was told ${status}, the log never says so`)];
  const same = status !== "COMPLETED" || sameJson(event.details?.result, result);
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
      return final.events.some((event) => event.type === "signaled" && event.seq === one.answer?.seq)
        ? []
        : [violation("I14", final.id, `an acknowledged signal ${key} is not in the log`)];
    case "restore":
      return final.events.some(
        (event) => event.type === "restored" && event.details?.to === one.answer?.restored?.seq,
      )
        ? []
        : [violation("I1", final.id, "an acknowledged restore is not in the log")];
    case "resume":
      return one.answer?.applied !== true ||
        final.events.some(
          (event) => event.details?.key === one.answer?.step?.key && event.type === "step_done",
        )
        ? []
        : [violation("I1", final.id, "an acknowledged decision is not in the log")];
    case "cancel":
      return final.events.some((event) => event.type === "canceled")
        ? []
        : [violation("I1", final.id, "an acknowledged cancel is not in the log")];
    default:
      return [];
  }
}

function judgeStepWrite(one: Exchange, final: Final, key: string, attempt: number): Violation[] {
  const records = final.events.filter((event) => event.type === "step_done" && event.details?.key === key);
  // A restore may have made it run again: the one that was answered is meant.
  const recorded =
    records.find((event) => sameJson(event.details?.result, one.answer?.step?.result)) ?? records[0];
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
  const marks = new Map<string, string>();
  for (const { id, payload } of finals) {
    const mark = payload.mark;
    if (typeof mark !== "string") continue;
    if (marks.has(mark)) found.push(violation("I11", id, `the intent marked ${mark} was created twice`));
    marks.set(mark, id);
  }
  return found;
}

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
  const events = (final?.events ?? []).filter((event) => event.details?.key === step);
  const begun = events.filter((event) => event.type === "step_running").length;
  // A restore that supersedes a step makes it another one to the world.
  const restores = (final?.events ?? []).filter((event) => event.type === "restored").length;
  const done = events.find((event) => event.type === "step_done")?.attempt ?? Number.POSITIVE_INFINITY;
  const found: Violation[] = [];
  if (new Set(all.map((effect) => effect.idempotencyKey)).size > 1 + restores)
    found.push(violation("I5", intentId, `step ${step} acted with two idempotency keys`));
  if (restores === 0 && all.some((effect) => effect.attempt > done))
    found.push(
      violation("I5", intentId, `step ${step} ran again in a delivery after its result was recorded`),
    );
  if (all.length > begun)
    found.push(
      violation("I13", intentId, `step ${step} acted ${all.length} times, and was begun ${begun} times`),
    );
  return found;
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

// What a 2xx promised is in the log, and what a reader was told is there to be read (I1, I3, I4, I5).

import type { LogEvent, Violation } from "../../server/verify/log-rules.ts";
import { type Final, TERMINAL } from "./finals.ts";
import type { Exchange, Json } from "./history.ts";
import { sameJson, violation } from "./verdict.ts";

/** What a 2xx promised. */
export function judgeAnswer(one: Exchange, byId: ReadonlyMap<string, Final>): Violation[] {
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

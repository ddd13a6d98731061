// What waits were given: the signals that came, the ends that children had (I3, I14).

import type { Violation } from "../../server/verify/log-rules.ts";
import type { Final } from "./finals.ts";
import { type Exchange, idIn, type Json } from "./history.ts";
import { sameJson, violation } from "./verdict.ts";

/** What a step got from a signal is what the signal brought (I14). */
export function judgeTaken({ id, events }: Final): Violation[] {
  return events.flatMap(({ type, details }) => {
    if (type !== "step_done" || details?.signal == null) return [];
    const signal = events.find((event) => event.type === "signaled" && event.seq === details.signal);
    // One that was never there is for the log's own judge.
    return signal === undefined || sameJson(signal.details?.data, details.result)
      ? []
      : [violation("I14", id, `step ${details.key} took signal ${details.signal} with other data`)];
  });
}

/** Whoever waited for children is told of all of them, in order, and how each of them did end (I3). */
export function judgeChildWaits(
  exchanges: readonly Exchange[],
  byId: ReadonlyMap<string, Final>,
): Violation[] {
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

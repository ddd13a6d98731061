// How long an intent was without an agent after its agent had died.

import type { Final } from "../../judge/finals.ts";
import type { Line, Told } from "../../judge/history.ts";
import type { Death } from "./play.ts";

/** From the death of an agent to the frame that gives its intent to the next. */
export interface Redeliveries {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
}

/** Between a loss and the next delivery: somebody's word was waited for, not an agent. */
const HELD_BACK = new Set(["paused", "unpaused", "waiting", "restored", "retried"]);

/** For what an agent held when it died, and lost by that: how long until somebody was told of the next attempt. */
export function redeliveries(
  history: readonly Line[],
  finals: readonly Final[],
  deaths: readonly Death[],
): Redeliveries {
  const lost = finals.flatMap(({ id, events }) =>
    events.flatMap(({ type, seq, attempt }) => {
      if (type !== "lost" || attempt === null) return [];
      const then =
        events.find((event) => event.type === "delivered" && event.attempt === attempt + 1)?.seq ?? 0;
      const between = events.filter((event) => event.seq > seq && event.seq < then);
      return between.some((event) => HELD_BACK.has(event.type)) ? [] : [{ id, attempt }];
    }),
  );
  const told = new Map<string, Told>();
  for (const line of history) {
    if (line.kind !== "told") continue;
    const name = `${line.intentId} ${line.attempt}`;
    if ((told.get(name)?.at ?? Number.POSITIVE_INFINITY) > line.at) told.set(name, line);
  }
  const times = lost.flatMap(({ id, attempt }) => {
    const holder = told.get(`${id} ${attempt}`);
    const next = told.get(`${id} ${attempt + 1}`);
    if (holder === undefined || next === undefined) return [];
    const death = deaths.findLast(
      ({ at, client }) => client === holder.client && at >= holder.at && at <= next.at,
    );
    return death === undefined ? [] : [next.at - death.at];
  });
  times.sort((a, b) => a - b);
  const quantile = (q: number) => times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? 0;
  return { count: times.length, p50: quantile(0.5), p99: quantile(0.99) };
}

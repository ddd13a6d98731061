// What restores leave of an intent's steps: which are done, which begin a new life.

import type { LogEvent } from "../../server/verify/log-rules.ts";

/** A restore that supersedes a step makes it another one to the world. */
export const livesOf = (log: readonly LogEvent[], step: string): number =>
  1 + log.filter((event) => (event.details?.superseded ?? []).includes(step)).length;

/** The steps that were done after an entry of the log, with what restores took back. */
export function doneBy(log: readonly LogEvent[], seq: number): Set<string> {
  let done = new Set<string>();
  for (const event of log) {
    if (event.seq > seq) break;
    if (event.type === "step_done") done.add(String(event.details?.key));
    if (event.type === "restored") done = new Set(event.details?.kept ?? []);
  }
  return done;
}

/** The steps that restores had superseded before an entry of the log, and that were not begun again since. */
export function supersededBefore(events: readonly LogEvent[], seq: number): Set<string> {
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

// What the streams of agents and watchers showed is what the log has (I5, I6, I10).

import type { Violation } from "../../server/verify/log-rules.ts";
import type { Final } from "./finals.ts";
import type { Told, Watched } from "./history.ts";
import { doneBy } from "./lives.ts";
import { violation } from "./verdict.ts";

/** One owner per attempt, and nobody is handed a step that is done (I5, I6). */
export function judgeTold(told: readonly Told[], byId: ReadonlyMap<string, Final>): Violation[] {
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

/** A watcher sees each event once, in order, as the log has it (I10). */
export function judgeWatched(watched: readonly Watched[], byId: ReadonlyMap<string, Final>): Violation[] {
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

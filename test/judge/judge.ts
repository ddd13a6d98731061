// Proves the invariants from what clients asked and were told, and from the logs in the end. Knows nothing of the server
// but its documents.

import { judgeLog, type Violation } from "../../server/verify/log-rules.ts";
import { judgeAnswer } from "./acknowledged.ts";
import { type Final, type FinalVersion, TERMINAL } from "./finals.ts";
import type { Effect, Exchange, Line, Told, Watched } from "./history.ts";
import { judgeKeys, judgeSignalKeys } from "./keys.ts";
import { judgeBatches, judgeRestoredState, judgeState } from "./state.ts";
import { judgeBehind, judgeEffects, judgeNewLives } from "./steps.ts";
import { judgeTold, judgeWatched } from "./streams.ts";
import { violation } from "./verdict.ts";
import { judgeChildWaits, judgeTaken } from "./waits.ts";

export interface Judgement {
  readonly violations: readonly Violation[];
  /** Acknowledged writes that are not there. */
  readonly lost: number;
  readonly operations: number;
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
    ...judgeBehind(effects, byId),
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

/** Everything that is not over: once all is healed and drained, and everybody got what they waited for, nothing may be left. */
export function judgeDrained(finals: readonly Final[]): Violation[] {
  return finals
    .filter((final) => !TERMINAL.includes(final.status))
    .map((final) => {
      const why = final.status === "WAITING" ? "all it waits for has come" : "agents are free";
      return violation("I7", final.id, `it is still ${final.status} although ${why}`);
    });
}

// What steps did to the world, and under which keys (I5, I13).

import type { LogEvent, Violation } from "../../server/verify/log-rules.ts";
import type { Final } from "./finals.ts";
import type { Effect } from "./history.ts";
import { doneBy, livesOf, supersededBefore } from "./lives.ts";
import { violation } from "./verdict.ts";

/**
 * A step acts on the world only while it is begun, with one key for ever, and never by a delivery that came after its
 * result (I5, I13). An older attempt's process may wake up in the middle of it: that is what its key is for.
 */
export function judgeEffects(effects: readonly Effect[], byId: ReadonlyMap<string, Final>): Violation[] {
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
  if (all.some((effect) => wasDoneBefore(log, step, effect.attempt)))
    found.push(
      violation("I5", intentId, `step ${step} ran again in a delivery after its result was recorded`),
    );
  // Recorded behind the work: it may have been at work before the log knows of it.
  if (all.some((effect) => effect.idempotencyKey === null)) return found;
  if (new Set(all.map((effect) => effect.idempotencyKey)).size > lives)
    found.push(
      violation(
        "I5",
        intentId,
        `step ${step} acted with ${lives === 1 ? "two" : "too many"} idempotency keys`,
      ),
    );
  if (all.length > begun)
    found.push(
      violation("I13", intentId, `step ${step} acted ${all.length} times, and was begun ${begun} times`),
    );
  return found;
}

/** What is recorded before the next step begins never begins on a result that may still be lost (I5). */
export function judgeBehind(effects: readonly Effect[], byId: ReadonlyMap<string, Final>): Violation[] {
  const behind = new Map<string, Set<string>>();
  return effects.flatMap(({ intentId, attempt, step, idempotencyKey }) => {
    const name = `${intentId} ${attempt}`;
    const earlier = behind.get(name) ?? new Set();
    behind.set(name, earlier);
    if (idempotencyKey === null) {
      earlier.add(step);
      return [];
    }
    const log = byId.get(intentId)?.events ?? [];
    const seqOf = (type: string, key: string) =>
      log.find((event) => event.type === type && event.attempt === attempt && event.details?.key === key)
        ?.seq;
    const begun = seqOf("step_running", step) ?? 0;
    return [...earlier]
      .filter((key) => (seqOf("step_done", key) ?? Number.POSITIVE_INFINITY) > begun)
      .map((key) => violation("I5", intentId, `step ${step} began before the result of ${key} was recorded`));
  });
}

/** Whether the step was done already when this attempt was delivered. */
function wasDoneBefore(log: readonly LogEvent[], step: string, attempt: number): boolean {
  const delivered = log.find((event) => event.type === "delivered" && event.attempt === attempt);
  return delivered !== undefined && doneBy(log, delivered.seq).has(step);
}

/** A step that a restore superseded acts under a new key when it is begun again (S6). */
export function judgeNewLives({ id, events }: Final): Violation[] {
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

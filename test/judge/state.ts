// Versions of state: each written once, commits whole, and after a restore as they were (I1, I9).

import type { Violation } from "../../server/verify/log-rules.ts";
import type { Final, FinalVersion } from "./finals.ts";
import type { Exchange, Json } from "./history.ts";
import { sameJson, violation } from "./verdict.ts";

/** An acknowledged write of state is a version of its own, with its value (I1, I9). */
export function judgeState(answered: readonly Exchange[], state: readonly FinalVersion[]): Violation[] {
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
export function judgeBatches(exchanges: readonly Exchange[], state: readonly FinalVersion[]): Violation[] {
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
export function judgeRestoredState(finals: readonly Final[], state: readonly FinalVersion[]): Violation[] {
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

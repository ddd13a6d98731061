// What is sent once is there once, however often it is sent again (I11).

import type { Violation } from "../../server/verify/log-rules.ts";
import type { Final } from "./finals.ts";
import { type Exchange, idIn } from "./history.ts";
import { livesOf } from "./lives.ts";
import { violation } from "./verdict.ts";

/** A key names one intent, and an intent has one key (I11). */
export function judgeKeys(answered: readonly Exchange[], finals: readonly Final[]): Violation[] {
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

/** A signal that is sent again with its key is one signal (I11). */
export function judgeSignalKeys(
  exchanges: readonly Exchange[],
  byId: ReadonlyMap<string, Final>,
): Violation[] {
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

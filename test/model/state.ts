// State: every write a new version, one winner per version, a batch all or nothing (I9).

import { fenced, isOpen } from "./attempts.ts";
import { log } from "./log.ts";
import type { Asked, Model, ModelIntent, StateOf, StateWrite, Verdict } from "./shapes.ts";

/** What is written is told as `scope/key@version=value`. */
export const writeNote = (scope: string, key: string, version: number, value: string | null): string =>
  `${scope}/${key}@${version}=${value ?? "deleted"}`;

/** What does the writes, or why none of them may be done. */
export function decideWrites(
  model: Model,
  intent: ModelIntent | null,
  writes: readonly StateWrite[],
): (() => string[]) | string {
  const stateOf = (scope: StateWrite["scope"]): StateOf =>
    scope === "shared" ? model.shared : (intent as ModelIntent).state;
  const seen = new Set<string>();
  for (const { scope, key, ifVersion } of writes) {
    if (seen.has(`${scope} ${key}`)) return "duplicate_key";
    seen.add(`${scope} ${key}`);
    const head = stateOf(scope)[key];
    const current = head === undefined || head.deleted ? 0 : head.version;
    if (ifVersion !== null && ifVersion !== current) return "version_conflict";
  }
  return () => {
    const notes = writes.flatMap(({ scope, key, value }) => {
      const state = stateOf(scope);
      const head = state[key];
      if (value === null && (head === undefined || head.deleted)) return [];
      const version = (head?.version ?? 0) + 1;
      state[key] = { version, value: value?.is, deleted: value === null };
      return [writeNote(scope, key, version, value === null ? null : JSON.stringify(value.is))];
    });
    if (intent !== null && notes.length > 0) log(intent, "state_changed", notes.join(" "));
    return notes;
  };
}

/** By its holder, or by an operator beside it (S7). */
export function write(model: Model, intent: ModelIntent, op: Extract<Asked, { op: "write" }>): Verdict {
  if (op.attempt !== null && !isOpen(intent, op.attempt)) return fenced(intent, op.attempt) ?? "ok";
  return decided(decideWrites(model, intent, op.writes));
}

export const share = (model: Model, writes: readonly StateWrite[]): Verdict =>
  decided(decideWrites(model, null, writes));

const decided = (writing: (() => string[]) | string): Verdict =>
  typeof writing === "string"
    ? writing
    : ["ok", ...writing().map((note) => note.replace(/=.*/, ""))].join(" ");

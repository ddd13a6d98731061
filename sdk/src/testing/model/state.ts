// Owns: state: every write a new version, one winner per version, a batch all or nothing.
import type { Wire } from "../../intents.ts";
import { log, type Model, type ModelIntent, refusal, type StateVersion } from "./shapes.ts";

export function versionsOf(model: Model, scope: string, key: string): StateVersion[] {
  return model.state.get(scope)?.get(key) ?? [];
}

/** What does the writes and tells what was written; throws why none of them may be done. */
export function decideWrites(model: Model, writes: readonly Wire[], intent?: ModelIntent): () => Wire[] {
  const seen = new Set<string>();
  for (const { scope, key, if_version } of writes) {
    const name = JSON.stringify([scope, key]);
    if (seen.has(name))
      throw refusal("duplicate_key", `${JSON.stringify(key)} of ${scope} is written twice in one batch`);
    seen.add(name);
    const head = versionsOf(model, scope, key).at(-1);
    const version = head === undefined || head.deleted ? 0 : head.version;
    if (if_version == null || if_version === version) continue;
    const message = `${JSON.stringify(key)} of ${scope} is at version ${version}, not ${if_version}; read it again and decide anew`;
    throw refusal("version_conflict", message, { scope, key, expected: if_version, version });
  }
  return () => {
    const written = writes.flatMap((write) => writeOne(model, write));
    if (intent !== undefined && written.length > 0) log(model, intent, "state_changed", { writes: written });
    return written;
  };
}

function writeOne(model: Model, write: Wire): Wire[] {
  const { scope, key, value } = write;
  const deleted = write.delete === true;
  const versions = versionsOf(model, scope, key);
  const head = versions.at(-1);
  if (deleted && (head === undefined || head.deleted)) return [];
  const version = (head?.version ?? 0) + 1;
  const entries = model.state.get(scope) ?? new Map<string, StateVersion[]>();
  entries.set(key, [...versions, { version, deleted, value, at: model.now() }]);
  model.state.set(scope, entries);
  return [{ scope, key, version, ...(deleted ? { deleted } : { value }) }];
}

// State: where a value lives, and what a write makes of it (I9: versions without gaps, one winner per version, a batch is
// all or nothing).

import { parseAddress } from "./address.ts";
import type { RawJson } from "./raw-json.ts";
import { Refusal } from "./refusal.ts";

export const STATE_KINDS = ["intent", "session", "agent"] as const;
export type StateKind = (typeof STATE_KINDS)[number];

export interface Scope {
  readonly kind: StateKind;
  /** An intent's id, a session's name, an agent's canonical address. */
  readonly id: string;
  readonly namespace: string;
  /** `kind:id`, by which it is stored. */
  readonly text: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is refused
const CONTROL = /[\u0000-\u001f\u007f]/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const ID_MAX = 200;

/** Parses `kind:id`. Throws `invalid_scope`. */
export function parseScope(text: string, namespace: string): Scope {
  const colon = text.indexOf(":");
  const kind = STATE_KINDS.find((one) => one === text.slice(0, Math.max(0, colon)));
  const id = text.slice(colon + 1);
  if (kind === undefined || id === "")
    throw invalidScope(text, "write intent:ID, session:NAME or agent:ADDRESS");
  if (kind === "agent") {
    const address = parseAddress(id, namespace);
    return scopeOf(kind, address.canonical, address.namespace);
  }
  if (kind === "intent") {
    if (!UUID.test(id)) throw invalidScope(text, "an intent's id is a UUID");
    return scopeOf(kind, id.toLowerCase(), namespace);
  }
  if (id.length > ID_MAX || CONTROL.test(id))
    throw invalidScope(
      text,
      `a session's name has at most ${ID_MAX} characters, none of them a control character`,
    );
  return scopeOf(kind, id, namespace);
}

const scopeOf = (kind: StateKind, id: string, namespace: string): Scope => ({
  kind,
  id,
  namespace,
  text: `${kind}:${id}`,
});

export const intentScope = (intentId: string, namespace: string): Scope =>
  scopeOf("intent", intentId, namespace);

const invalidScope = (text: string, why: string): Refusal =>
  new Refusal("invalid_scope", `${JSON.stringify(text.slice(0, 80))} is not a state scope: ${why}`);

/** What is current. */
export interface StateHead {
  readonly version: number;
  readonly deleted: boolean;
}

export interface StateWrite {
  readonly scope: Scope;
  readonly key: string;
  /** Null deletes. */
  readonly value: RawJson | null;
  /** The version it must have now; 0: it must not exist. Null: whatever it is. */
  readonly ifVersion: number | null;
}

export interface StateVersion {
  readonly namespace: string;
  readonly scope: string;
  readonly key: string;
  readonly version: number;
  readonly value: RawJson | null;
}

export const stateName = (scope: string, key: string): string => JSON.stringify([scope, key]);

/** The versions that a batch of writes makes, or a refusal for all of them. A delete of nothing makes none. */
export function decideState(
  writes: readonly StateWrite[],
  headOf: (scope: Scope, key: string) => StateHead | undefined,
): StateVersion[] {
  const seen = new Set<string>();
  return writes.flatMap(({ scope, key, value, ifVersion }) => {
    const name = stateName(scope.text, key);
    if (seen.has(name))
      throw new Refusal(
        "duplicate_key",
        `${JSON.stringify(key)} of ${scope.text} is written twice in one batch`,
      );
    seen.add(name);
    const head = headOf(scope, key);
    const current = head === undefined || head.deleted ? 0 : head.version;
    if (ifVersion !== null && ifVersion !== current) {
      throw new Refusal(
        "version_conflict",
        `${JSON.stringify(key)} of ${scope.text} is at version ${current}, not ${ifVersion}; read it again and decide anew`,
        { scope: scope.text, key, expected: ifVersion, version: current },
      );
    }
    if (value === null && current === 0) return [];
    return [{ namespace: scope.namespace, scope: scope.text, key, version: (head?.version ?? 0) + 1, value }];
  });
}

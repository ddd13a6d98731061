// The keys that callers present, as the database knows them, remembered for seconds: no request asks the database by
// itself. Also who uses which key just now, so that what is open ends with its key. It decides nothing about routes.

import { isKeyText } from "../domain/api-key.ts";
import type { Store } from "../store/connection.ts";
import { type ApiKey, endedKeys, findLiveKey, touchKeys } from "../store/queries/keys.ts";

/** After so long the database is asked again, behind the request that finds it so. */
const FRESH_MS = 1_000;
/** After so long nothing is believed any more: a revoked key has stopped working by then. */
const BELIEVED_MS = 3_000;
/** Known keys and refused ones, apart: a flood of made-up keys must not push out those that work. */
const REMEMBERED = 10_000;

interface Known {
  readonly key: ApiKey | undefined;
  readonly askedAt: number;
  readonly endsAt: number;
}

export interface KeyRing {
  /** The live key of this text and digest, if there is one; at once when it was asked for lately. */
  find(text: string, digest: Buffer): ApiKey | undefined | Promise<ApiKey | undefined>;
  /** Calls `end` when the key ends; the answer forgets it. */
  hold(keyId: string, end: () => void): () => void;
  /** Ends what is held by keys that have ended; answers how many keys had. */
  endHeld(): Promise<number>;
  /** Writes down which keys were used since the last time. */
  noteUse(): Promise<number>;
  /** Forgets everything, as a restart would. */
  forget(): void;
}

export function createKeyRing(store: Store, now: () => number = () => performance.now()): KeyRing {
  const live = new Map<string, Known>();
  const refused = new Map<string, Known>();
  const asking = new Map<string, Promise<ApiKey | undefined>>();
  const held = new Map<string, Set<() => void>>();
  const used = new Set<string>();

  const remember = (name: string, known: Known): void => {
    live.delete(name);
    refused.delete(name);
    const map = known.key === undefined ? refused : live;
    // The oldest goes: a Map keeps the order in which its entries came.
    if (map.size >= REMEMBERED) map.delete(map.keys().next().value as string);
    map.set(name, known);
  };

  const ask = (name: string, digest: Buffer): Promise<ApiKey | undefined> => {
    const under = asking.get(name);
    if (under !== undefined) return under;
    const askedAt = now();
    const answer = findLiveKey(store, digest)
      .then((found) => {
        const { expiresInMs = null, ...key } = found ?? {};
        const endsAt = expiresInMs === null ? Number.POSITIVE_INFINITY : askedAt + expiresInMs;
        remember(name, { key: found === undefined ? undefined : (key as ApiKey), askedAt, endsAt });
        return found;
      })
      .finally(() => asking.delete(name));
    asking.set(name, answer);
    return answer;
  };

  const use = (key: ApiKey | undefined): ApiKey | undefined => {
    if (key !== undefined) used.add(key.id);
    return key;
  };

  return {
    find(text, digest) {
      const name = digest.toString("latin1");
      const known = live.get(name) ?? refused.get(name);
      const age = known === undefined ? Number.POSITIVE_INFINITY : now() - known.askedAt;
      // A typo is told without asking the database.
      if (known === undefined && !isKeyText(text)) return undefined;
      if (known === undefined || age > BELIEVED_MS) return ask(name, digest).then(use);
      // Its failure is told to whoever has to wait for it.
      if (age > FRESH_MS) ask(name, digest).catch(() => undefined);
      return now() < known.endsAt ? use(known.key) : undefined;
    },
    hold(keyId, end) {
      const ends = held.get(keyId) ?? new Set();
      held.set(keyId, ends.add(end));
      used.add(keyId);
      return () => {
        ends.delete(end);
        if (ends.size === 0 && held.get(keyId) === ends) held.delete(keyId);
      };
    },
    async endHeld() {
      if (held.size === 0) return 0;
      for (const id of held.keys()) used.add(id);
      const ended = await endedKeys(store, [...held.keys()]);
      for (const id of ended) for (const end of [...(held.get(id) ?? [])]) end();
      return ended.length;
    },
    async noteUse() {
      const ids = [...used];
      used.clear();
      if (ids.length === 0) return 0;
      await touchKeys(store, ids).catch((error) => {
        for (const id of ids) used.add(id);
        throw error;
      });
      return ids.length;
    },
    forget() {
      live.clear();
      refused.clear();
    },
  };
}

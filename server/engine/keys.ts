// API keys: made, replaced and ended by administrators, each change with its audit entry. Nobody gives away more than it has.

import { randomBytes } from "node:crypto";
import {
  type Access,
  checkPattern,
  coversNamespace,
  coversPattern,
  seesEverything,
  type Verb,
} from "../domain/access.ts";
import type { Address } from "../domain/address.ts";
import { keyDigest, newKeyText } from "../domain/api-key.ts";
import { newId } from "../domain/ids.ts";
import { Refusal } from "../domain/refusal.ts";
import type { Store } from "../store/connection.ts";
import type { AuditEntry } from "../store/queries/audit.ts";
import { type ApiKey, endKey, findKey, type NewKey, replaceKey, saveKey } from "../store/queries/keys.ts";

/** Who changes keys, and where from. */
export interface Administrator {
  readonly access: Access;
  readonly audit: Pick<AuditEntry, "actor" | "keyId" | "namespace" | "source">;
}

export interface KeyInput {
  readonly name: string;
  readonly address: Address;
  readonly scopes: readonly Verb[];
  readonly patterns: readonly string[];
  readonly lifetimeMs: number | null;
}

/** The only time that a key's text is seen. */
export interface IssuedKey {
  readonly key: ApiKey;
  readonly text: string;
}

type Granted = Pick<ApiKey, "namespace" | "patterns">;

/** Within one's own namespace everything can be given, beyond it what one's patterns cover. */
function mayGrant(access: Access, { namespace, patterns }: Granted): boolean {
  const own = `${access.namespace}/`;
  return (
    coversNamespace(access, namespace) &&
    patterns.every((pattern) => pattern.startsWith(own) || coversPattern(access, pattern))
  );
}

/** Refuses a key that would reach further than whoever makes it. */
export function requireGrant(access: Access, { namespace }: Address, patterns: readonly string[] = []): void {
  if (mayGrant(access, { namespace, patterns })) return;
  throw new Refusal(
    "forbidden",
    "a key may reach no further than the key that makes it; use an administrator's key of all namespaces",
  );
}

export async function createKey(store: Store, by: Administrator, input: KeyInput): Promise<IssuedKey> {
  const { canonical, namespace } = input.address;
  const patterns = input.patterns.map(checkPattern);
  requireGrant(by.access, input.address, patterns);
  const { name, lifetimeMs } = input;
  const scopes = [...new Set(input.scopes)];
  const id = newId();
  const text = newKeyText(randomBytes(32));
  const key: NewKey = {
    id,
    family: id,
    digest: keyDigest(text),
    name,
    namespace,
    address: canonical,
    scopes,
    patterns,
    createdBy: by.audit.actor,
    lifetimeMs,
  };
  const details = { name, address: canonical, scopes, patterns };
  return { key: await saveKey(store, key, { ...by.audit, action: "key.create", target: id, details }), text };
}

/** A key of another's namespace, or one that reaches further than its reader, is not there. */
async function requireKey(store: Store, by: Administrator, id: string): Promise<ApiKey> {
  const key = await findKey(store, id);
  if (key !== undefined && (seesEverything(by.access) || mayGrant(by.access, key))) return key;
  throw noKey(id);
}

const noKey = (id: string): Refusal => new Refusal("key_not_found", `there is no key ${id}`, { key_id: id });

export async function rotateKey(
  store: Store,
  by: Administrator,
  id: string,
  graceMs: number,
): Promise<IssuedKey & { readonly old: ApiKey }> {
  const { name, family, namespace, address, scopes, patterns, lifetimeMs } = await requireKey(store, by, id);
  const text = newKeyText();
  const key: NewKey = {
    id: newId(),
    digest: keyDigest(text),
    createdBy: by.audit.actor,
    ...{ name, family, namespace, address, scopes, patterns, lifetimeMs },
  };
  const details = { new_key_id: key.id, grace_seconds: graceMs / 1000 };
  const saved = await replaceKey(store, id, key, graceMs, {
    ...by.audit,
    action: "key.rotate",
    target: id,
    details,
  });
  if (saved === undefined) {
    throw new Refusal("key_ended", `key ${id} has ended: there is nothing to rotate; create a new key`, {
      key_id: id,
    });
  }
  return { key: saved, text, old: await requireKey(store, by, id) };
}

/** Repeating it changes nothing. With an address, only a key of that address. */
export async function revokeKey(
  store: Store,
  by: Administrator,
  id: string,
  address?: string,
): Promise<ApiKey> {
  const key = await requireKey(store, by, id);
  if (address !== undefined && key.address !== address) throw noKey(id);
  const { name } = key;
  await endKey(store, id, { ...by.audit, action: "key.revoke", target: id, details: { name } });
  return requireKey(store, by, id);
}

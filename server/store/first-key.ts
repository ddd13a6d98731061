// Keys in a database that no server has open here: the look before a server listens, and the first administrator's key.

import pg from "pg";
import { VERBS } from "../domain/access.ts";
import { DEFAULT_NAMESPACE } from "../domain/address.ts";
import { keyDigest, newKeyText } from "../domain/api-key.ts";
import { newId } from "../domain/ids.ts";
import { typeParsers } from "./connection.ts";
import { type AdminKeys, type ApiKey, adminKeys, saveKey } from "./queries/keys.ts";

async function withPool<T>(connectionString: string, body: (pool: pg.Pool) => Promise<T>): Promise<T> {
  const pool = new pg.Pool({ connectionString, types: typeParsers, max: 1, connectionTimeoutMillis: 10_000 });
  pool.on("error", () => undefined);
  try {
    return await body(pool);
  } finally {
    await pool.end();
  }
}

/** Who can administer a server on this database without PERDURE_ADMIN_KEY. */
export const adminKeysIn = (url: string): Promise<AdminKeys> => withPool(url, (pool) => adminKeys(pool));

/** A key that may do everything everywhere, for whoever has the database itself. */
export function saveFirstAdminKey(
  url: string,
  name: string,
  lifetimeMs: number | null,
): Promise<{ key: ApiKey; text: string }> {
  const id = newId();
  const text = newKeyText();
  const address = `${DEFAULT_NAMESPACE}/admin`;
  const key = {
    id,
    family: id,
    digest: keyDigest(text),
    name,
    namespace: DEFAULT_NAMESPACE,
    address,
    scopes: [...VERBS],
    patterns: ["*"],
    createdBy: "cli",
    lifetimeMs,
  };
  const audit = {
    actor: "cli",
    keyId: null,
    namespace: DEFAULT_NAMESPACE,
    action: "key.create",
    target: id,
    source: "cli",
    details: { name, address, scopes: key.scopes, patterns: key.patterns },
  };
  return withPool(url, async (pool) => ({ key: await saveKey({ pool }, key, audit), text }));
}

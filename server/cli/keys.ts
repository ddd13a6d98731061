// Owns how a key is spoken of: enough to tell it from another, too little to use it.

/** `pdr_…6Xk2q9`. */
export function maskKey(key: string | undefined): string | undefined {
  if (key === undefined) return undefined;
  return key.length < 20 ? "…" : `${key.slice(0, 4)}…${key.slice(-4)}`;
}

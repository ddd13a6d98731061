// Owns: one short name for a long text. Not a secret, so no secure hash: that one is asynchronous, and missing on plain-http pages.

/** 128 bits of the text, as hex. The same in every version: names made from it are stored. */
export function stableHash(text: string): string {
  const parts = [0x811c9dc5, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35];
  for (let at = 0; at < text.length; at++) {
    for (let i = 0; i < parts.length; i++) {
      parts[i] = Math.imul((parts[i] ?? 0) ^ (text.charCodeAt(at) + i), 0x01000193 + 2 * i);
    }
  }
  return parts.map((part) => (part >>> 0).toString(16).padStart(8, "0")).join("");
}

// Owns: one short name for a long text. Not a secret, so no secure hash: that one is asynchronous, and missing on plain-http pages.

/** 128 bits of the text, as hex. The same in every version: names made from it are stored. */
export function stableHash(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9e3779b9;
  let c = 0x85ebca6b;
  let d = 0xc2b2ae35;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ (code + 1), 0x01000195);
    c = Math.imul(c ^ (code + 2), 0x01000197);
    d = Math.imul(d ^ (code + 3), 0x01000199);
  }
  return [a, b, c, d].map((part) => (part >>> 0).toString(16).padStart(8, "0")).join("");
}

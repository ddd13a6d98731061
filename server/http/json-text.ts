// Facts about JSON text that JSON.parse does not tell: depth, where a syntax error is, forbidden characters, and
// the source text of single members. Pure, iterative (no input can exhaust the stack), one pass each.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The index just behind the string that opens at `start`, or the text's length when it never ends. */
function skipString(text: string, start: number): number {
  let from = start + 1;
  for (;;) {
    const end = text.indexOf('"', from);
    if (end === -1) return text.length;
    let escapes = end - 1;
    while (escapes > start && text.charCodeAt(escapes) === BACKSLASH) escapes--;
    if ((end - 1 - escapes) % 2 === 0) return end + 1;
    from = end + 1;
  }
}

/** Whether arrays and objects nest deeper than `max`. Right for valid JSON; never throws on anything else. */
export function isDeeperThan(text: string, max: number): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; ) {
    const char = text.charCodeAt(i);
    if (char === QUOTE) {
      i = skipString(text, i);
      continue;
    }
    if (char === 0x7b || char === 0x5b) {
      if (++depth > max) return true;
    } else if (char === 0x7d || char === 0x5d) depth--;
    i++;
  }
  return false;
}

export const isBlank = (char: number): boolean =>
  char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09;

export function skipBlank(text: string, start: number): number {
  let i = start;
  while (isBlank(text.charCodeAt(i))) i++;
  return i;
}

/** The index just behind the value that begins at `start`, in valid JSON. */
export function skipValue(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === QUOTE) return skipString(text, start);
  let i = start;
  if (first !== 0x7b && first !== 0x5b) {
    for (; i < text.length; i++) {
      const char = text.charCodeAt(i);
      if (char === 0x2c || char === 0x7d || char === 0x5d || isBlank(char)) return i;
    }
    return i;
  }
  let depth = 0;
  while (i < text.length) {
    const char = text.charCodeAt(i);
    if (char === QUOTE) {
      i = skipString(text, i);
      continue;
    }
    i++;
    if (char === 0x7b || char === 0x5b) depth++;
    else if ((char === 0x7d || char === 0x5d) && --depth === 0) return i;
  }
  return i;
}

/** Calls `member` for every member of the object at `start`, in valid JSON; answers the index behind the object. */
export function eachMember(
  text: string,
  start: number,
  member: (key: string, from: number) => number,
): number {
  let i = skipBlank(text, start + 1);
  while (text.charCodeAt(i) !== 0x7d) {
    const keyEnd = skipString(text, i);
    const source = text.slice(i, keyEnd);
    const key = source.includes("\\") ? (JSON.parse(source) as string) : source.slice(1, -1);
    // Behind the key: white space, a colon, white space, the value.
    i = skipBlank(text, skipBlank(text, keyEnd) + 1);
    i = skipBlank(text, member(key, i));
    if (text.charCodeAt(i) === 0x2c) i = skipBlank(text, i + 1);
  }
  return i + 1;
}

/** The text of an object without some of its members: what is left stays as its sender wrote it. */
export function withoutMembers(text: string, names: readonly string[]): string {
  if (names.length === 0) return text.trim();
  const kept: string[] = [];
  eachMember(text, skipBlank(text, 0), (key, from) => {
    const end = skipValue(text, from);
    if (!names.includes(key)) kept.push(`${JSON.stringify(key)}:${text.slice(from, end)}`);
    return end;
  });
  return `{${kept.join(",")}}`;
}

/** Calls `element` for every element of the array at `start`, in valid JSON; answers the index behind the array. */
export function eachElement(
  text: string,
  start: number,
  element: (index: number, from: number) => number,
): number {
  let i = skipBlank(text, start + 1);
  for (let index = 0; text.charCodeAt(i) !== 0x5d; index++) {
    i = skipBlank(text, element(index, i));
    if (text.charCodeAt(i) === 0x2c) i = skipBlank(text, i + 1);
  }
  return i + 1;
}

export function escapePointer(segment: string): string {
  return segment.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** A NUL, or half of a surrogate pair: PostgreSQL can store neither as text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: NUL is exactly what is looked for
const UNSTORABLE = /\u0000|\p{Surrogate}/u;

export const isStorable = (text: string): boolean => !UNSTORABLE.test(text);

/** JSON Pointer of the first string or key with a NUL or a lone surrogate, in valid JSON; null when there is none. */
export function findUnstorable(text: string): string | null {
  // Valid UTF-8 has no lone surrogate and JSON no raw NUL: only an escape can bring one in.
  if (!text.includes("\\u")) return null;
  interface Level {
    readonly array: boolean;
    index: number;
    key: string;
  }
  const levels: Level[] = [];
  let expectKey = false;
  const pointer = (): string =>
    levels.map((level) => `/${level.array ? level.index : escapePointer(level.key)}`).join("");
  for (let i = 0; i < text.length; ) {
    const char = text.charCodeAt(i);
    const level = levels.at(-1);
    if (char === QUOTE) {
      const end = skipString(text, i);
      const source = text.slice(i, end);
      const value = source.includes("\\") ? (JSON.parse(source) as string) : source.slice(1, -1);
      if (expectKey && level !== undefined) {
        level.key = value;
        expectKey = false;
      }
      if (source.includes("\\u") && !isStorable(value)) return pointer();
      i = end;
      continue;
    }
    if (char === 0x7b) {
      levels.push({ array: false, index: 0, key: "" });
      expectKey = true;
    } else if (char === 0x5b) {
      levels.push({ array: true, index: 0, key: "" });
      expectKey = false;
    } else if (char === 0x7d || char === 0x5d) {
      levels.pop();
      expectKey = false;
    } else if (char === 0x2c && level !== undefined) {
      if (level.array) level.index++;
      else expectKey = true;
    }
    i++;
  }
  return null;
}

// Where and why text is not JSON. Used only once JSON.parse has refused it, because V8's messages give a position
// for some errors and not for others, and differ between versions. Iterative; judges nothing else.

import { isBlank, skipBlank } from "./json-text.ts";

export interface SyntaxProblem {
  /** 0-based, in UTF-16 units. */
  readonly offset: number;
  readonly line: number;
  readonly column: number;
  readonly reason: string;
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const LITERAL = /true|false|null/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

class Stop extends Error {
  readonly offset: number;
  constructor(offset: number, reason: string) {
    super(reason);
    this.offset = offset;
  }
}

function matchEnd(pattern: RegExp, text: string, start: number): number {
  pattern.lastIndex = start;
  return pattern.test(text) ? pattern.lastIndex : -1;
}

function stringEnd(text: string, start: number): number {
  for (let i = start + 1; i < text.length; ) {
    const char = text.charCodeAt(i);
    if (char === 0x22) return i + 1;
    if (char < 0x20) throw new Stop(i, "a control character inside a string must be escaped");
    if (char !== 0x5c) {
      i++;
      continue;
    }
    const end = matchEnd(ESCAPE, text, i);
    if (end === -1) throw new Stop(i, "this is not an escape JSON knows");
    i = end;
  }
  throw new Stop(start, "the string that begins here never ends");
}

function scalarEnd(text: string, start: number): number {
  const char = text.charAt(start);
  if (char === "") throw new Stop(start, "the text ends where a value should be");
  if (char === '"') return stringEnd(text, start);
  const end = Math.max(matchEnd(NUMBER, text, start), matchEnd(LITERAL, text, start));
  if (end === -1) {
    throw new Stop(
      start,
      char === "'" ? "strings need double quotes" : `${JSON.stringify(char)} cannot begin a value`,
    );
  }
  return end;
}

/** The index behind the `"key" :` at `start`. */
function keyEnd(text: string, start: number): number {
  if (text.charAt(start) !== '"') throw new Stop(start, "a key in double quotes should be here");
  const colon = skipBlank(text, stringEnd(text, start));
  if (text.charAt(colon) !== ":") throw new Stop(colon, "a colon should be here");
  return colon + 1;
}

function scan(text: string): void {
  const open: ("{" | "[")[] = [];
  let i = 0;
  for (;;) {
    // A value begins.
    i = skipBlank(text, i);
    const char = text.charAt(i);
    let valueEnded = true;
    if (char === "{" || char === "[") {
      const inside = skipBlank(text, i + 1);
      if (text.charAt(inside) === (char === "{" ? "}" : "]")) i = inside + 1;
      else {
        open.push(char);
        i = char === "{" ? keyEnd(text, inside) : inside;
        valueEnded = false;
      }
    } else i = scalarEnd(text, i);
    // A value ended: close what it completes, then go on behind a comma.
    while (valueEnded) {
      i = skipBlank(text, i);
      const top = open.at(-1);
      const next = text.charAt(i);
      if (top === undefined) {
        if (i < text.length) throw new Stop(i, "nothing may follow the value");
        return;
      }
      if (next === ",") {
        i = skipBlank(text, i + 1);
        if (text.charAt(i) === "}" || text.charAt(i) === "]") throw new Stop(i, "a comma may not end a list");
        if (top === "{") i = keyEnd(text, i);
        valueEnded = false;
      } else if (next === (top === "{" ? "}" : "]")) {
        open.pop();
        i++;
      } else {
        const missing = `a comma or "${top === "{" ? "}" : "]"}" should be here`;
        throw new Stop(i, next === "" ? `the text ends too early: ${missing}` : missing);
      }
    }
  }
}

/** The first syntax error of `text`, or null when it is JSON after all. */
export function findSyntaxProblem(text: string): SyntaxProblem | null {
  try {
    scan(text);
    return null;
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    const before = text.slice(0, error.offset);
    const line = before.split("\n").length;
    return {
      offset: error.offset,
      line,
      column: error.offset - before.lastIndexOf("\n"),
      reason: error.message,
    };
  }
}

/** Nothing but white space. */
export function isEmptyText(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (!isBlank(text.charCodeAt(i))) return false;
  return true;
}

// JSON kept as the text its sender wrote, and the encoder that puts such text back verbatim.
// A number beyond 2^53 survives only as text: parse() is for looking, never for storing again.

let collected: string[] | null = null;
let token = "";

export class RawJson {
  /** Valid JSON. Made by our own parser, by `of`, or read back from a json column: not checked again here. */
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** Encodes a value; `undefined` becomes `null`, and RawJson leaves inside it stay verbatim. */
  static of(value: unknown): RawJson {
    return value instanceof RawJson ? value : new RawJson(encodeJson(value));
  }

  /** The value as JavaScript sees it; numbers beyond 2^53 are rounded. */
  parse(): unknown {
    return JSON.parse(this.text);
  }

  /** Inside encodeJson a placeholder; under a plain JSON.stringify the right shape, with rounded numbers. */
  toJSON(): unknown {
    if (collected === null) return this.parse();
    collected.push(this.text);
    return token;
  }
}

/** JSON.stringify, but RawJson leaves are embedded as written. `undefined` encodes as `null`. */
export function encodeJson(value: unknown): string {
  if (value instanceof RawJson) return value.text;
  const outerCollected = collected;
  const outerToken = token;
  try {
    for (let round = 0; ; round++) {
      // NUL cannot come from a client (it is refused), so a clash means text of our own: try another token.
      token = `\u0000raw${round}\u0000`;
      collected = [];
      const encoded = JSON.stringify(value) ?? "null";
      if (collected.length === 0) return encoded;
      const pieces = encoded.split(JSON.stringify(token));
      if (pieces.length !== collected.length + 1) continue;
      let whole = pieces[0] as string;
      for (let i = 0; i < collected.length; i++)
        whole += (collected[i] as string) + (pieces[i + 1] as string);
      return whole;
    }
  } finally {
    collected = outerCollected;
    token = outerToken;
  }
}

// Line ends for EventSource and, beyond them, for readers that split with Unicode rules (Python's splitlines).
const LINE_END = /[\r\n\u0085\u2028\u2029]/;

/** encodeJson on exactly one line, for an SSE `data:` field. */
export function encodeJsonLine(value: unknown): string {
  const text = encodeJson(value);
  if (!LINE_END.test(text)) return text;
  return (
    text
      // A raw CR or LF in valid JSON is white space between tokens, and so is any blank that follows it.
      .replace(/[\r\n][ \t\r\n]*/g, "")
      .replace(/[\u0085\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)
  );
}

// JSON whose numbers stay as they were written: what an agent sent is shown, and copied, digit by digit, also where JavaScript's numbers
// have fewer digits.

/** Not in every browser yet, nor in TypeScript: without it such a number is rounded. */
interface ExactJson {
  readonly rawJSON?: (text: string) => unknown;
  parse(
    text: string,
    revive: (key: string, value: unknown, context?: { source?: string }) => unknown,
  ): unknown;
}
const { rawJSON, parse } = JSON as unknown as ExactJson;

/** Some number may have more digits than are kept; most answers have none, and are parsed quickly. */
const LONG_NUMBER = /\d[\d.]{15,}/;

export function parseExactly(text: string): unknown {
  if (rawJSON === undefined || !LONG_NUMBER.test(text)) return JSON.parse(text);
  return parse(text, (_key, value, context) => {
    const source = context?.source;
    return typeof value === "number" && source !== undefined && String(value) !== source
      ? rawJSON(source)
      : value;
  });
}

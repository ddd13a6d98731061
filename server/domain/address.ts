// Agent addresses: `agent://org/workspace/name`, one to three segments, raw or percent-encoded.
// All matching is done on the canonical form `org/workspace/name`.

import { Refusal } from "./refusal.ts";

export const DEFAULT_NAMESPACE = "local/dev";
const SCHEME = "agent://";
const SEGMENT_MAX = 200;
/** An address is part of keys, whose rows PostgreSQL bounds. */
const CANONICAL_MAX_BYTES = 640;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is refused
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\s/\\?#]/;

export interface Address {
  /** `org/workspace/name`, decoded. */
  readonly canonical: string;
  /** `org/workspace`. */
  readonly namespace: string;
  readonly name: string;
}

/** Whether a decoded segment may be one. */
export const isSegment = (text: string): boolean =>
  text !== "." && text !== ".." && text !== "" && text.length <= SEGMENT_MAX && !FORBIDDEN.test(text);

function decodeSegment(segment: string, text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(segment);
  } catch {
    throw invalid(text, "it has a broken percent-encoding");
  }
  if (decoded === "") throw invalid(text, "a segment is empty");
  if (decoded === "." || decoded === "..") throw invalid(text, "a segment is '.' or '..'");
  if (decoded.length > SEGMENT_MAX) throw invalid(text, `a segment is longer than ${SEGMENT_MAX} characters`);
  if (FORBIDDEN.test(decoded)) throw invalid(text, "a segment has a space, slash or control character");
  return decoded;
}

function invalid(text: string, why: string): Refusal {
  return new Refusal(
    "invalid_address",
    `${JSON.stringify(text.slice(0, 80))} is not an agent address: ${why}. Write agent://org/workspace/name`,
  );
}

/** Parses an address in any accepted form; `namespace` completes a one-part address. */
export function parseAddress(text: string, namespace: string = DEFAULT_NAMESPACE): Address {
  let body = text;
  if (/^agent%3a%2f%2f/i.test(body)) {
    try {
      body = decodeURIComponent(body);
    } catch {
      throw invalid(text, "it has a broken percent-encoding");
    }
  }
  if (body.toLowerCase().startsWith(SCHEME)) body = body.slice(SCHEME.length);
  // A whole address sent as one encoded path segment: its slashes are encoded too.
  if (!body.includes("/") && /%2f/i.test(body)) body = body.replaceAll(/%2f/gi, "/");
  const segments = body.split("/").map((segment) => decodeSegment(segment, text));
  const [first, second, third] = segments;
  if (first === undefined || segments.length > 3) throw invalid(text, "it has more than three segments");
  if (second === undefined) return address(namespace, first);
  if (third === undefined) return address(`${first}/default`, second);
  return address(`${first}/${second}`, third);
}

function address(namespace: string, name: string): Address {
  const canonical = `${namespace}/${name}`;
  if (Buffer.byteLength(canonical) > CANONICAL_MAX_BYTES)
    throw invalid(canonical, `it is longer than ${CANONICAL_MAX_BYTES} bytes`);
  return { canonical, namespace, name };
}

/** The form shown to people. */
export function formatAddress(canonical: string): string {
  return SCHEME + canonical.split("/").map(encodeURIComponent).join("/");
}

// Bodies, segments and headers for the fuzz: what a schema asks for, and then what nobody asked for. JSON is kept as
// text pieces, because duplicate members, 1e400 and lone surrogates do not survive an object.
import fc, { type GeneratorValue } from "fast-check";
import type { Operation, Schema } from "./operations.ts";
import type { Outgoing } from "./wire.ts";

/** Rides in everything that is the caller's own; must be found in no error and no log line. */
export const CANARY = "canary7f3a9cQ";

type Json = string | { readonly list: readonly Json[] } | { readonly members: readonly Member[] };
/** The name as JSON text. */
type Member = readonly [name: string, value: Json];

const quote = (text: string): string => JSON.stringify(text);

/** Values a schema did not mean, as JSON text (or not even that). */
const HORRORS: readonly string[] = [
  "null",
  "true",
  "0",
  "-0",
  "-1",
  "1.5",
  "1e400",
  "-1e400",
  "1e-400",
  "9007199254740993",
  "2147483648",
  "123456789012345678901234567890",
  "NaN",
  "Infinity",
  "undefined",
  "'x'",
  "01",
  "+1",
  "0x10",
  "1_000",
  '""',
  '" "',
  '"\\u0000"',
  '"a\\u0000b"',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\r\\nx-evil: 1"',
  '"\\n\\ndata: x"',
  '"__proto__"',
  '"constructor"',
  '"../../etc/passwd"',
  '"a%2fb"',
  '"%252e%252e"',
  '"agent://a/b/c/d"',
  '"0000-00-00T00:00:00Z"',
  '"+275760-09-13T00:00:00Z"',
  '"2026-02-30T00:00:00Z"',
  '"\'; drop table intents; --"',
  "[]",
  "{}",
  "[[]]",
  '{"__proto__":{"x":1}}',
  '{"constructor":{"prototype":{"x":1}}}',
  '{"a":1,"a":2}',
  '{"toString":1,"hasOwnProperty":2,"length":-1}',
  "[null,null]",
  quote("x".repeat(5_000)),
  quote("字".repeat(300)),
  `${"[".repeat(5_000)}${"]".repeat(5_000)}`,
  `${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`,
  "[".repeat(5_000),
  '"\\ud83d\\ude00"',
  '"\u2028"',
  '"\u202e"',
  '"\\u200b"',
  "",
  ",",
  "]",
  "}",
  '"',
  '"\\x41"',
  '"\t"',
  "/* */ 1",
].map((text) => text);

const SEGMENTS: readonly string[] = [
  "..",
  ".",
  "%2e%2e",
  "%2F",
  "%252F",
  "..%2f..%2fetc%2fpasswd",
  "%00",
  "a%00b",
  "%0d%0ax-evil:%201",
  "%0a",
  "__proto__",
  "constructor",
  "%ff",
  "%E0%A4%A",
  "%",
  "%zz",
  "%ED%A0%80",
  "%F0%9F%98%80",
  "%E2%80%8B",
  "'",
  ";",
  "*",
  "a".repeat(201),
  "a".repeat(1_000),
  "a".repeat(6_001),
  "agent:%2e%2e",
  "intent:x",
  "session:",
  ":",
  "a%20b",
  "agent:local%2Fdev%2Fa",
  "0",
  "-1",
  "null",
  "true",
  "1e9",
  "%7B%7D",
  "agent%3A%2F%2Fa%2Fb%2Fc%2Fd",
  "\x7f",
  "é",
];

const HEADERS: readonly (readonly [string, string])[] = [
  ["idempotency-key", ""],
  ["idempotency-key", "k".repeat(201)],
  ["idempotency-key", "a\tb"],
  ["idempotency-key", "caf\xe9"],
  ["idempotency-key", "__proto__"],
  ["x-request-id", "a b"],
  ["x-request-id", "x".repeat(129)],
  ["x-request-id", "\xff"],
  ["x-trace-id", "<script>"],
  ["traceparent", "ff-0-0-0"],
  ["traceparent", `00-${"f".repeat(500)}`],
  ["prefer", "wait=0.5e9"],
  ["prefer", "wait=-1"],
  ["last-event-id", "1e400"],
  ["last-event-id", "-1"],
  ["last-event-id", "__proto__"],
  ["if-match", "*"],
  ["if-match", '"99999999999"'],
  ["if-match", '"-1"'],
  ["if-none-match", "*"],
  ["x-owner-agent", "\xff\xfe"],
  ["x-owner-agent", "a b"],
  ["x-owner-agent", "a".repeat(900)],
  ["x-owner-agent", ""],
  ["content-encoding", "gzip"],
  ["content-encoding", "identity, gzip"],
  ["accept", "text/html"],
  ["content-type", "text/plain"],
  ["content-type", "application/json; charset=utf-16"],
  ["content-type", ""],
  ["content-type", "application/x-www-form-urlencoded"],
  ["content-type", "multipart/form-data; boundary=x"],
  ["content-type", "\x01"],
  ["content-type", "application/vnd.x+json"],
  ["content-type", "application/json, text/html"],
  ["origin", "null"],
  ["origin", "https://evil.example"],
  ["host", "evil.example"],
  ["expect", "100-continue"],
  ["expect", "nonsense"],
  ["upgrade", "websocket"],
  ["x-http-method-override", "DELETE"],
  ["range", "bytes=0-1"],
  ["authorization", `Bearer ${CANARY}`],
  ["cookie", `a=${CANARY}`],
];

/** Members that are the caller's own: they carry the canary. */
const OPAQUE = new Set([
  "payload",
  "result",
  "input",
  "data",
  "value",
  "details",
  "done",
  "metadata",
  "form_schema",
]);
/** A real wait would only hold the fuzz up. */
const WAITS = new Set(["wait", "wait_seconds"]);

export interface Known {
  /** Intents in several states. */
  readonly ids: readonly string[];
}

const pick = <T>(g: GeneratorValue, values: readonly T[]): T =>
  g<T, T[]>((...all: T[]) => fc.constantFrom(...all), ...values);
const chance = (g: GeneratorValue, ofTen: number): boolean => g(fc.integer, { min: 0, max: 9 }) < ofTen;

/** A value the schema accepts, mostly. */
export function valid(g: GeneratorValue, schema: Schema, name: string, known: Known): Json {
  if (OPAQUE.has(name) && schema.anyOf === undefined) return `{"${CANARY}":"${CANARY}"}`;
  if (schema.anyOf !== undefined) return valid(g, pick(g, schema.anyOf), name, known);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return JSON.stringify(pick(g, schema.enum));
  switch (schema.type) {
    case "object":
      return validObject(g, schema, known);
    case "array":
      return { list: [valid(g, schema.items ?? {}, name, known)] };
    case "integer":
    case "number":
      return validNumber(g, schema, name);
    case "boolean":
      return pick(g, ["true", "false"]);
    case "string":
      return quote(validString(g, schema, name, known));
    case "null":
      return "null";
    default:
      return pick(g, ["1", '"x"', "[1,{}]", "null"]);
  }
}

function validNumber(g: GeneratorValue, schema: Schema, name: string): string {
  if (WAITS.has(name)) return "0";
  const low = schema.minimum ?? (schema.exclusiveMinimum === undefined ? 0 : schema.exclusiveMinimum + 1);
  return String(pick(g, [low, low + 1, Math.min(schema.maximum ?? 1_000, low + 1_000)]));
}

function validString(g: GeneratorValue, schema: Schema, name: string, known: Known): string {
  if (schema.format === "uuid") return pick(g, known.ids);
  if (schema.format === "date-time") return pick(g, ["2099-01-01T00:00:00Z", "2020-01-01T00:00:00+01:00"]);
  if (name === "scope") return pick(g, ["agent:local/dev/a", "session:s", `intent:${known.ids[0]}`]);
  return pick(g, ["a", "b", "字", "a b", "approved"]);
}

function validObject(g: GeneratorValue, schema: Schema, known: Known): Json {
  const required = new Set(schema.required ?? []);
  const members = Object.entries(schema.properties ?? {})
    .filter(([name]) => required.has(name) || chance(g, 3))
    .map(([name, inner]): Member => [quote(name), valid(g, inner, name, known)]);
  return { members };
}

export function render(json: Json): string {
  if (typeof json === "string") return json;
  if ("list" in json) return `[${json.list.map(render).join(",")}]`;
  return `{${json.members.map(([name, value]) => `${name}:${render(value)}`).join(",")}}`;
}

/** The same with one place spoiled: a value replaced, a member repeated, removed, renamed or added. */
function spoil(g: GeneratorValue, json: Json): Json {
  if (typeof json === "string") return pick(g, HORRORS);
  if ("list" in json) {
    if (json.list.length === 0 || chance(g, 3)) return pick(g, HORRORS);
    return { list: json.list.map((one) => spoil(g, one)) };
  }
  const { members } = json;
  const at = g(fc.nat, Math.max(0, members.length - 1));
  const member = members[at];
  switch (pick(g, ["value", "value", "value", "twice", "missing", "extra", "name", "all"])) {
    case "value":
      if (member === undefined) break;
      return { members: members.map((one, n) => (n === at ? [one[0], spoil(g, one[1])] : one)) };
    case "twice":
      return member === undefined ? json : { members: [...members, [member[0], pick(g, HORRORS)]] };
    case "missing":
      return { members: members.filter((_, n) => n !== at) };
    case "extra":
      return {
        members: [
          ...members,
          [
            pick(g, ['"__proto__"', '"constructor"', '"a\\u0000"', '"\\ud800"', '""', '"x/~"']),
            pick(g, HORRORS),
          ],
        ],
      };
    case "name":
      if (member === undefined) break;
      return { members: members.map((one, n) => (n === at ? ['"__proto__"', one[1]] : one)) };
    default:
  }
  return pick(g, HORRORS);
}

/** Bytes that are no text at all, cut or broken in the middle. */
function breakBytes(g: GeneratorValue, bytes: Buffer): Buffer {
  const at = g(fc.nat, bytes.length);
  const junk = Buffer.from(
    pick(g, [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf8], [0x00], [0x80], [0xef, 0xbb, 0xbf]]),
  );
  return chance(g, 3)
    ? bytes.subarray(0, at)
    : Buffer.concat([bytes.subarray(0, at), junk, bytes.subarray(at)]);
}

function segment(g: GeneratorValue, name: string, path: string, known: Known): string {
  if (chance(g, 2)) return pick(g, SEGMENTS);
  if (name === "id" && !path.includes("/consumers/"))
    return pick(g, [...known.ids, "00000000-0000-7000-8000-000000000000"]);
  if (name === "id") return "00000000-0000-7000-8000-000000000000";
  return encodeURIComponent(validString(g, { type: "string" }, name, known));
}

const LISTS = ["intents", "events", "state", "state versions", "state scopes", "tasks", "sessions"];
const POSITIONS = [
  "1e300",
  "-1",
  "1.5",
  "9007199254740993",
  '"\\u0000"',
  '"\\ud800"',
  "null",
  '{"__proto__":1}',
  '"a"',
];

/** A cursor that no list issued, in the form that they are issued in. */
function forgedCursor(g: GeneratorValue, known: Known): string {
  const position = pick(g, [
    pick(g, POSITIONS),
    `[${pick(g, POSITIONS)},${quote(known.ids[0] ?? "")}]`,
    `[${pick(g, POSITIONS)},${pick(g, POSITIONS)}]`,
  ]);
  return Buffer.from(`[1,${quote(pick(g, LISTS))},${position}]`).toString("base64url");
}

function queryOf(g: GeneratorValue, operation: Operation, known: Known): string {
  const pairs = Object.entries(operation.query).flatMap(([name, schema]) => {
    if (!chance(g, 3)) return [];
    if (name === "cursor") return [`cursor=${forgedCursor(g, known)}`];
    if (chance(g, 3)) return [`${name}=${pick(g, SEGMENTS)}`];
    const text = render(valid(g, schema, name, known)).replace(/^"|"$/g, "");
    return [`${name}=${encodeURIComponent(text)}`];
  });
  if (chance(g, 1))
    pairs.push(
      pick(g, [
        "__proto__=1",
        "metadata.=1",
        "metadata.__proto__=x",
        "a[b]=c",
        "=",
        "&&",
        "limit=1&limit=2",
        "%00=%00",
      ]),
    );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

/** One request of an operation: right in most places, and wrong somewhere. */
export function hostileRequest(g: GeneratorValue, operation: Operation, known: Known, key: string): Outgoing {
  const path = operation.path.replace(/\{([^}]+)\}/g, (_, name: string) =>
    segment(g, name, operation.path, known),
  );
  const headers: (readonly [string, string])[] = [["x-api-key", key]];
  if (chance(g, 2)) headers.push(pick(g, HEADERS));
  let body: Buffer | undefined;
  if (operation.body !== undefined || chance(g, 1)) {
    const json = valid(g, operation.body ?? {}, "", known);
    body = Buffer.from(render(chance(g, 8) ? spoil(g, json) : json));
    if (chance(g, 1)) body = breakBytes(g, body);
    if (!headers.some(([name]) => name === "content-type"))
      headers.push(["content-type", "application/json"]);
  }
  return { method: operation.method, path: `${path}${queryOf(g, operation, known)}`, headers, body };
}

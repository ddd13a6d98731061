// Request bodies: bytes → a checked value in which every opaque member (payload, result, …) is RawJson, the exact text
// its sender wrote. It refuses what cannot be stored; whether the fields make sense is for the schemas.

import { isUtf8 } from "node:buffer";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { RawJson } from "../domain/raw-json.ts";
import { invalid, PerdureError } from "../errors.ts";
import { findSyntaxProblem, isEmptyText } from "./json-syntax.ts";
import { eachElement, eachMember, findUnstorable, isDeeperThan, skipBlank, skipValue } from "./json-text.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The JSON text of the body as received; "" without one. */
    bodyText: string;
  }
}

/** Members whose value is the caller's own data. */
const OPAQUE: ReadonlySet<string> = new Set([
  "payload",
  "result",
  "input",
  "data",
  "done",
  "value",
  "details",
]);
/** Members that hold objects of this API, or arrays of them, in which the same names are opaque. */
const CONTAINERS: ReadonlySet<string> = new Set([
  "intents",
  "intent",
  "ops",
  "body",
  "state",
  "writes",
  "error",
  "task_result",
]);

type Json = { [key: string]: unknown };

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `ops[] → body → state[]` is the deepest our API nests; a bound keeps hostile nesting from being scanned once per level. */
const CONTAINER_DEPTH = 3;

/** Whether the value has any opaque member: only then is its text scanned again. */
function hasOpaque(value: unknown, level: number): boolean {
  if (Array.isArray(value)) return value.some((element) => hasOpaque(element, level));
  if (!isObject(value)) return false;
  for (const key of Object.keys(value)) {
    if (OPAQUE.has(key)) return true;
    if (level < CONTAINER_DEPTH && CONTAINERS.has(key) && hasOpaque(value[key], level + 1)) return true;
  }
  return false;
}

function rawSlice(text: string, from: number, end: number): RawJson {
  const slice = text.slice(from, end);
  // Line ends in valid JSON are white space between tokens; dropped here, stored text always fits one SSE line.
  return new RawJson(/[\r\n]/.test(slice) ? slice.replace(/[\r\n][ \t\r\n]*/g, "") : slice);
}

/** Replaces the opaque members of `value` by their source text; answers the index behind it. */
function keepOpaque(text: string, start: number, value: unknown, level: number): number {
  if (Array.isArray(value))
    return eachElement(text, start, (index, from) => keepOpaque(text, from, value[index], level));
  if (!isObject(value)) return skipValue(text, start);
  const containers = new Map<string, number>();
  const behind = eachMember(text, start, (key, from) => {
    const end = skipValue(text, from);
    // A repeated key: the last one wins, as in JSON.parse, because it overwrites here too.
    if (OPAQUE.has(key)) value[key] = rawSlice(text, from, end);
    else if (level < CONTAINER_DEPTH && CONTAINERS.has(key)) containers.set(key, from);
    return end;
  });
  for (const [key, from] of containers) keepOpaque(text, from, value[key], level + 1);
  return behind;
}

/** Parses body text. An empty text is `undefined`: the routes decide whether a body was needed. */
export function parseJsonText(text: string, maxDepth: number): unknown {
  if (isEmptyText(text)) return undefined;
  if (isDeeperThan(text, maxDepth))
    throw invalid("", `the JSON nests deeper than ${maxDepth} levels; send a flatter value`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed(text, cause);
  }
  const pointer = findUnstorable(text);
  if (pointer !== null) {
    throw invalid(
      pointer,
      "contains \\u0000 or half of a surrogate pair, which cannot be stored; remove or encode it",
    );
  }
  if (hasOpaque(value, 0)) keepOpaque(text, skipBlank(text, 0), value, 0);
  return value;
}

function malformed(text: string, cause: unknown): PerdureError {
  const problem = findSyntaxProblem(text);
  if (problem === null) return new PerdureError("malformed_json", "the body is not valid JSON", { cause });
  const { offset, line, column, reason } = problem;
  return new PerdureError(
    "malformed_json",
    `the body is not valid JSON at line ${line}, column ${column}: ${reason}`,
    {
      details: { offset, line, column },
      cause,
    },
  );
}

export function decodeUtf8(bytes: Buffer): string {
  if (!isUtf8(bytes))
    throw new PerdureError("invalid_utf8", "the body is not valid UTF-8; encode the JSON as UTF-8");
  const text = bytes.toString("utf8");
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

/** Accepts `application/json` and `application/*+json`, also with an empty body (AXP clients send that); else 415. */
export function installJsonBody(app: FastifyInstance, options: { readonly jsonMaxDepth: number }): void {
  app.decorateRequest("bodyText", "");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    /^application\/(?:json|[\w.!#$&^-]+\+json)(?:$|[\s;])/i,
    { parseAs: "buffer" },
    (request: FastifyRequest, body: Buffer, done) => {
      try {
        const encoding = request.headers["content-encoding"];
        if (encoding !== undefined && encoding !== "identity")
          throw new PerdureError(
            "unsupported_media_type",
            `content-encoding ${encoding} is not accepted; send the body as it is`,
          );
        request.bodyText = decodeUtf8(body);
        done(null, parseJsonText(request.bodyText, options.jsonMaxDepth));
      } catch (error) {
        done(error as Error, undefined);
      }
    },
  );
  // Another type is fine as long as there is nothing in it.
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request: FastifyRequest, body: Buffer, done) => {
    if (body.length === 0) done(null, undefined);
    else
      done(
        new PerdureError(
          "unsupported_media_type",
          "send the body with the header content-type: application/json",
        ),
        undefined,
      );
  });
}

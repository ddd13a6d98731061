// Each field of each body and query, given a value of a type that it does not take: refused by its name. From the
// server's own OpenAPI document, so that a new field is tried without anybody thinking of it.
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";
import { type Operation, readOperations, type Schema } from "./operations.ts";
import { type Outgoing, send } from "./wire.ts";
import { stored } from "./witness.ts";

const ID = "00000000-0000-7000-8000-000000000000";

let server: TestServer;
let operations: Operation[];
beforeAll(async () => {
  server = await startTestServer();
  await Promise.all(Object.values(server.sweepers).map((worker) => worker.stop()));
  operations = await readOperations(server, {});
});
afterAll(() => server.close());

/** The JSON types that a schema takes; undefined for any. */
function typesOf(schema: Schema): Set<string> | undefined {
  if (schema.anyOf === undefined) return schema.type === undefined ? undefined : new Set([schema.type]);
  const all = schema.anyOf.map(typesOf);
  return all.some((one) => one === undefined) ? undefined : new Set(all.flatMap((one) => [...(one ?? [])]));
}

const VALUES: Readonly<Record<string, unknown>> = {
  string: "\u0001",
  number: 1.5,
  boolean: true,
  array: [[]],
  object: {},
};

function wrongValue(schema: Schema): unknown {
  const types = typesOf(schema);
  if (types === undefined) return undefined;
  const wrong = Object.keys(VALUES).find(
    (type) => !types.has(type) && !(type === "number" && types.has("integer")),
  );
  return wrong === undefined ? undefined : VALUES[wrong];
}

/** What the other required fields need for a request to get as far as the one in question. */
function rightValue(schema: Schema): unknown {
  const one = schema.anyOf?.[0] ?? schema;
  if (one.enum !== undefined) return one.enum[0];
  if (one.type === "object")
    return Object.fromEntries(
      (one.required ?? []).map((name) => [name, rightValue(one.properties?.[name] ?? {})]),
    );
  if (one.type === "array") return one.minItems === undefined ? [] : [rightValue(one.items ?? {})];
  return one.type === "string" ? "a" : one.type === "boolean" ? true : 1;
}

const pathOf = (operation: Operation): string =>
  operation.path.replace(/\{([^}]+)\}/g, (_, name: string) =>
    name === "id" ? ID : name === "scope" ? "session:s" : "a",
  );

function requestsFor(operation: Operation): { pointer: string; request: Outgoing }[] {
  const path = pathOf(operation);
  const { method, body, query } = operation;
  const inBody = Object.entries(body?.properties ?? {}).flatMap(([name, schema]) => {
    const wrong = wrongValue(schema);
    if (wrong === undefined) return [];
    const members = { ...(rightValue(body ?? {}) as object), [name]: wrong };
    const headers = [["content-type", "application/json"]] as const;
    const request = { method, path, headers, body: Buffer.from(JSON.stringify(members)) };
    return [{ pointer: `/${name}`, request }];
  });
  const inQuery = Object.keys(query).map((name) => ({
    pointer: `?${name}`,
    request: { method, path: `${path}?${name}=%00`, headers: [] },
  }));
  return [...inBody, ...inQuery];
}

test("a value of another type is refused by the name of its field, on every route", async () => {
  const before = await stored(server);
  const tried: string[] = [];
  for (const operation of operations) {
    for (const { pointer, request } of requestsFor(operation)) {
      const what = `${operation.method} ${operation.path} ${pointer}`;
      const answer = await send(server, request);
      expect(answer.status, `${what}\n${answer.bytes}`).toBe(422);
      const named = (JSON.parse(answer.body).errors as { pointer: string }[]).map((one) => one.pointer);
      expect(
        named.some((one) => one === pointer || one.startsWith(`${pointer}/`)),
        `${what}: ${named}`,
      ).toBe(true);
      tried.push(what);
    }
  }
  expect(tried.length).toBeGreaterThan(100);
  expect(await stored(server)).toBe(before);
});

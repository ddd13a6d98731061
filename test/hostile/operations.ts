// What the server says about itself, for whoever wants to ask everything of it: its OpenAPI document as a flat list.
import type { TestServer } from "../support/server.ts";
import { call } from "../support/server.ts";

/** The part of JSON Schema that the document uses. */
export interface Schema {
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
}

export interface Operation {
  readonly method: string;
  /** With `{name}` for parameters. */
  readonly path: string;
  readonly query: Readonly<Record<string, Schema>>;
  readonly pathNames: readonly string[];
  readonly body: Schema | undefined;
}

interface Described {
  readonly parameters?: readonly { in: string; name: string; schema: Schema }[];
  readonly requestBody?: { content: { "application/json": { schema: Schema } } };
}

/** Routes that the document leaves out. */
const UNDESCRIBED = ["/metrics", "/openapi.json"];

export async function readOperations(
  server: TestServer,
  headers: Record<string, string>,
): Promise<Operation[]> {
  const { body } = await call(server, "GET", "/openapi.json", undefined, headers);
  const paths = body.paths as Record<string, Record<string, Described>>;
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]): Operation => {
      const inQuery = (one.parameters ?? []).filter((parameter) => parameter.in === "query");
      return {
        method: method.toUpperCase(),
        path,
        query: Object.fromEntries(inQuery.map(({ name, schema }) => [name, schema])),
        pathNames: [...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1] ?? ""),
        body: one.requestBody?.content["application/json"].schema,
      };
    }),
  );
  const rest = UNDESCRIBED.map((path) => ({
    method: "GET",
    path,
    query: {},
    pathNames: [],
    body: undefined,
  }));
  return [...described, ...rest];
}

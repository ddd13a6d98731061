// Makes requests for every operation of an OpenAPI document, out of given names: what a field is called says which of them may
// stand there. The same draws with other names give the twin of a request.

import fc from "fast-check";
import type { Names } from "./tenant.ts";

// biome-ignore lint/suspicious/noExplicitAny: a JSON schema is read member by member
type Schema = any;

export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Schema[];
  readonly body: Schema | undefined;
}

export interface Made {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

export function operationsOf(document: Schema): Operation[] {
  return Object.entries<Schema>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Schema>(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      parameters: operation.parameters ?? [],
      body: operation.requestBody?.content?.["application/json"]?.schema,
    })),
  );
}

type Draw = <T>(arbitrary: () => fc.Arbitrary<T>) => T;
type Pool = keyof Names;

const POOLS: readonly (readonly [RegExp, Pool])[] = [
  [
    /^(to_agent|from_agent|reply_to|address|owner_agent|assignee|assigned_to|escalate_to|account|a|patterns)$/,
    "addresses",
  ],
  [/^(parent_intent_id|intent_id|intent_ids|forget|intents)$/, "intents"],
  [/^session$/, "sessions"],
  [/^(consumer|incarnation)$/, "consumers"],
  [/^cursor$/, "cursors"],
  [/^idempotency_key$/, "idempotency"],
  [/^(key|parent_step|step|steps|signal|begin_next|to|not_run)$/, "keys"],
];

const DEPTH_MAX = 5;
const ENDS_BY_ITSELF = /(timeout|ttl|deadline)_seconds$/;
const LONG_SECONDS = 86_000;

/** A marker that `realize` turns into one of the names. */
const slot = (pool: Pool, n: number) => `⟦${pool}:${n}⟧`;

export function realize(text: string, names: Names, encode: (name: string) => string): string {
  return text.replaceAll(/⟦(\w+):(\d+)⟧/g, (_, pool: Pool, n: string) => {
    const list = names[pool];
    return encode(list[Number(n) % list.length] as string);
  });
}

class Maker {
  readonly #draw: Draw;
  readonly #document: Schema;

  constructor(draw: Draw, document: Schema) {
    this.#draw = draw;
    this.#document = document;
  }

  #pick<T>(values: readonly T[]): T {
    return this.#draw(() => fc.constantFrom(...values));
  }

  named(pool: Pool): string {
    return slot(
      pool,
      this.#draw(() => fc.nat(99)),
    );
  }

  text(name: string): string {
    if (name === "scope")
      return this.#pick([
        `intent:${this.named("intents")}`,
        `session:${this.named("sessions")}`,
        `agent:${this.named("addresses")}`,
      ]);
    const pool = POOLS.find(([pattern]) => pattern.test(name))?.[1];
    // One's own things stand beside the others'.
    if (name === "to_agent" && this.#draw(() => fc.nat(3)) === 0) return "beta/prod/agent";
    return pool === undefined ? this.#pick(["x", "approved", "1", "beta/prod/agent"]) : this.named(pool);
  }

  value(schema: Schema, name: string, depth = 0): unknown {
    const s = schema?.$ref === undefined ? (schema ?? {}) : this.#resolve(schema.$ref);
    const options = s.anyOf ?? s.oneOf;
    if (options !== undefined) return this.value(this.#pick(options), name, depth);
    if (s.allOf !== undefined) return this.value(s.allOf[0], name, depth);
    if (s.const !== undefined) return s.const;
    if (s.enum !== undefined) return this.#pick(s.enum);
    switch (s.type) {
      case "object":
        return this.#members(s, depth);
      case "array":
        return depth > DEPTH_MAX
          ? []
          : Array.from({ length: this.#pick([1, 1, 2]) }, () => this.value(s.items, name, depth + 1));
      case "integer":
      case "number":
        if (name === "attempt" || name === "parent_attempt") return this.#pick([1, 1, 0, 2]);
        // What ends by itself, or after so many losses, may do so after one request and before its twin.
        if (ENDS_BY_ITSELF.test(name)) return LONG_SECONDS;
        return name === "max_delivery_attempts" ? s.maximum : Math.max(s.minimum ?? 0, 1);
      case "boolean":
        return this.#pick([true, false]);
      case "null":
        return null;
      case "string":
        return s.format === "date-time" ? "2030-01-01T00:00:00Z" : this.text(name);
      default:
        return this.#pick<unknown>(["raw", { any: 1 }, null]);
    }
  }

  #members(schema: Schema, depth: number): object {
    const required = new Set<string>(schema.required ?? []);
    const entries = Object.entries<Schema>(schema.properties ?? {}).flatMap(([name, member]) => {
      const wanted = required.has(name) || (depth < DEPTH_MAX && this.#draw(() => fc.nat(2)) === 0);
      return wanted ? [[name, this.value(member, name, depth + 1)] as const] : [];
    });
    return Object.fromEntries(entries);
  }

  #resolve(ref: string): Schema {
    return ref
      .slice(2)
      .split("/")
      .reduce((node, part) => node[part], this.#document);
  }

  pathPart(path: string, name: string): string {
    if (name === "key_id") return this.named("keyIds");
    if (path.startsWith("/v1/keys/")) return this.named("keyIds");
    if (path.startsWith("/v1/consumers/")) return this.named("consumerIds");
    if (name === "id") return this.named("intents");
    if (path.startsWith("/v1/sessions/")) return this.named("sessions");
    return name === "name" ? this.named("keys") : this.text(name);
  }

  /** One that an answer is held for must not hold up the test. */
  query(name: string, schema: Schema): unknown {
    return name === "wait"
      ? this.#pick([0, 0.02])
      : name === "older_than_seconds"
        ? 1
        : this.value(schema, name);
  }

  optional(): boolean {
    return this.#draw(() => fc.nat(3)) === 0;
  }
}

/** Draws a request with empty slots; `fill` puts names into them. */
export function makeRequest(draw: Draw, document: Schema, { method, path, parameters, body }: Operation) {
  const maker = new Maker(draw, document);
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => maker.pathPart(path, name));
  const query = parameters
    .filter((one) => one.in === "query" && one.name !== "wait_seconds" && (one.required || maker.optional()))
    .map((one) => `${one.name}=${String(maker.query(one.name, one.schema))}`);
  const sent = body === undefined ? undefined : maker.value(body, "");
  if (typeof sent === "object" && sent !== null && "wait_seconds" in sent)
    (sent as { wait_seconds: number }).wait_seconds = 0;
  // What the caller has of its own is needed for the requests that follow.
  if (path.startsWith("/v1/intents/bulk")) Object.assign(sent as object, { dry_run: true });
  const headers = {
    ...(maker.optional() ? { "idempotency-key": maker.named("idempotency") } : {}),
    ...(maker.optional() ? { "x-owner-agent": maker.named("addresses") } : {}),
    ...(maker.optional() ? { "if-match": '"1"' } : {}),
  };
  const url = filled + (query.length === 0 ? "" : `?${query.join("&")}`);
  const plain = (text: string) => text;
  return (names: Names): Made => ({
    method,
    url: realize(url, names, encodeURIComponent),
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, text]) => [name, realize(text, names, plain)]),
    ),
    body: sent === undefined ? undefined : realize(JSON.stringify(sent), names, plain),
  });
}

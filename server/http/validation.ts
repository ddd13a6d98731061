// zod as Fastify's validator: aliases and unknown fields first, then the schema, with each problem named by a pointer.
// Query and path problems are named `?name` and `:name`, since JSON Pointers speak about bodies only.

import type { FastifyInstance, FastifyRequest } from "fastify";
import type { z } from "zod";
import { type FieldError, invalid, PerdureError } from "../errors.ts";
import { reconcileFields } from "./fields.ts";
import { escapePointer } from "./json-text.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** What was ignored or should be known; a JSON answer with `ok: true` carries it as `warnings`. */
    warnings: string[];
  }
}

type Part = "body" | "querystring" | "params" | "headers";

const MAX_ERRORS = 50;

function pointerOf(part: Part, path: readonly PropertyKey[]): string {
  if (part === "body") return path.map((segment) => `/${escapePointer(String(segment))}`).join("");
  return `${part === "querystring" ? "?" : part === "params" ? ":" : "header "}${path.map(String).join(".")}`;
}

/** zod's answer when no alternative fits is "Invalid input"; the alternative that got furthest says more. */
function flatten(issue: z.core.$ZodIssue): { path: PropertyKey[]; message: string }[] {
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const inner = issue.errors.map((issues) => issues.flatMap(flatten));
    const deepest = (issues: { path: PropertyKey[] }[]): number =>
      Math.max(0, ...issues.map((one) => one.path.length));
    const best = inner.reduce((a, b) => (deepest(b) > deepest(a) ? b : a));
    if (deepest(best) > 0)
      return best.map((one) => ({ path: [...issue.path, ...one.path], message: one.message }));
  }
  return [{ path: issue.path, message: issue.message }];
}

/** 422 `validation_failed` that names every place. */
export function validationError(part: Part, issues: readonly z.core.$ZodIssue[]): PerdureError {
  const errors: FieldError[] = issues
    .flatMap(flatten)
    .slice(0, MAX_ERRORS)
    .map(({ path, message }) => ({ pointer: pointerOf(part, path), detail: message }));
  const first = errors[0] as FieldError;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more, see errors)` : "";
  return new PerdureError(
    "validation_failed",
    `${first.pointer === "" ? "" : `${first.pointer}: `}${first.detail}${more}`,
    { errors },
  );
}

function reconcile(request: FastifyRequest): void {
  const schema = request.routeOptions.schema;
  if (schema === undefined) return;
  if (schema.body !== undefined) {
    // No body is an empty object: a required field is then named, and an optional body needs no special case.
    if (request.body === undefined) request.body = {};
    addWarnings(request, reconcileFields(schema.body as z.ZodType, request.body));
  }
  refuseNul(request.query);
  if (schema.querystring !== undefined) {
    addWarnings(request, reconcileFields(schema.querystring as z.ZodType, request.query));
  }
}

/** Bodies and paths are checked where they are read; a query may hold `%00` in any text, which cannot be stored or sought. */
function refuseNul(query: unknown): void {
  for (const [name, value] of Object.entries(query as Record<string, unknown>)) {
    if (`${name}${String(value)}`.includes("\0"))
      throw invalid(
        `?${name.replaceAll("\0", "\\u0000")}`,
        "contains NUL, which cannot be stored; remove it",
      );
  }
}

export function addWarnings(request: FastifyRequest, warnings: readonly string[]): void {
  if (warnings.length > 0) request.warnings = [...request.warnings, ...warnings];
}

export function installValidation(app: FastifyInstance): void {
  // A shared constant until the first warning: nothing ever pushes into it.
  const none = Object.freeze([]) as unknown as string[];
  app.decorateRequest("warnings", null as never);
  app.addHook("onRequest", (request, _reply, done) => {
    request.warnings = none;
    done();
  });
  app.setValidatorCompiler<z.ZodType>(({ schema, httpPart }) => (data) => {
    const result = schema.safeParse(data);
    if (result.success) return { value: result.data };
    return { error: validationError((httpPart ?? "body") as Part, result.error.issues) };
  });
  app.addHook("preValidation", (request, _reply, done) => {
    reconcile(request);
    done();
  });
  app.addHook("preSerialization", (request, _reply, payload, done) => {
    // A request that was refused early has none.
    if (!request.warnings?.length || typeof payload !== "object" || payload === null)
      return done(null, payload);
    const answer = payload as { ok?: unknown; warnings?: unknown };
    if (answer.ok !== true) return done(null, payload);
    const own = Array.isArray(answer.warnings) ? (answer.warnings as string[]) : [];
    done(null, { ...answer, warnings: [...own, ...request.warnings] });
  });
}

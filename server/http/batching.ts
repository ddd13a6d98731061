// Calls that may travel many in one request. A route opts in by naming itself in its config; its own schemas, needs, audit and
// handler then serve the call, in a request of its own or inside a batch. What an operation does is the route's affair.

import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from "fastify";
import type { z } from "zod";
import type { Store } from "../store/connection.ts";
import { auditDone } from "./audit.ts";
import { wantsMinimum } from "./conventions.ts";
import { reconcileFields } from "./fields.ts";
import { type Needs, requireVerb } from "./needs.ts";
import { problemFor } from "./problem.ts";
import { validationError } from "./validation.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The name under which this call may be an operation of `POST /v1/batch`. */
    batch?: string;
  }
  interface FastifyInstance {
    batchable: ReadonlyMap<string, Batchable>;
  }
}

/** One call, without the request that it usually comes in. */
export interface Batchable {
  readonly needs: Needs;
  readonly run: (request: FastifyRequest, operation: Operation) => Promise<OperationAnswer>;
}

export interface Operation {
  readonly op: string;
  readonly intent_id?: string | undefined;
  readonly consumer_id?: string | undefined;
  readonly watcher?: string | undefined;
  readonly key?: string | undefined;
  readonly idempotency_key?: string | undefined;
  readonly body?: unknown;
}

export interface OperationAnswer {
  readonly status: number;
  readonly body: unknown;
  /** The operation had been done before, by a request with the same idempotency key or attempt. */
  readonly replayed?: true;
  /** Seconds. */
  readonly retry_after?: number;
}

/** Installed before the first route that names itself. */
export function installBatching(app: FastifyInstance, store: Store): void {
  const batchable = new Map<string, Batchable>();
  app.decorate("batchable", batchable);
  app.addHook("onRoute", (route: RouteOptions) => {
    const name = route.config?.batch;
    if (name === undefined) return;
    if (batchable.has(name)) throw new Error(`two routes call themselves ${name} in a batch`);
    batchable.set(name, { needs: route.config?.needs ?? "key", run: runnerOf(app, store, route) });
  });
}

function runnerOf(app: FastifyInstance, store: Store, route: RouteOptions): Batchable["run"] {
  const { schema, handler, preValidation } = route;
  const needs = route.config?.needs ?? "key";
  return async (request, operation) => {
    const one = requestOf(request, operation);
    const reply = new OperationReply();
    try {
      requireVerb(request.principal.access, needs);
      if (typeof preValidation === "function") await (preValidation as Check)(one);
      if (schema?.params !== undefined)
        one.params = checked("params", schema.params as z.ZodType, one.params);
      if (schema?.body !== undefined) {
        const warnings = reconcileFields(schema.body as z.ZodType, one.body);
        if (warnings.length > 0) one.warnings = warnings;
        one.body = checked("body", schema.body as z.ZodType, one.body);
      }
      const body = await (handler as unknown as Handler).call(app, one, reply as unknown as FastifyReply);
      await auditDone(store, route.config?.audit, one, reply as unknown as FastifyReply);
      return reply.answer(warned(body, one.warnings));
    } catch (thrown) {
      return refused(request, thrown);
    }
  };
}

type Check = (request: FastifyRequest) => unknown;
type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown;

/** The same caller with another question. */
function requestOf(request: FastifyRequest, operation: Operation): FastifyRequest {
  const { intent_id, consumer_id, watcher, key, idempotency_key } = operation;
  const one = Object.create(request) as FastifyRequest;
  const id = intent_id ?? consumer_id;
  one.params = {
    ...(id === undefined ? {} : { id }),
    ...(key === undefined ? {} : { key }),
    ...(watcher === undefined ? {} : { watcher }),
  };
  one.query = {};
  one.body = operation.body ?? {};
  const headers = {
    ...(idempotency_key === undefined ? {} : { "idempotency-key": idempotency_key }),
    ...(wantsMinimum(request) ? { prefer: "return=minimal" } : {}),
  };
  Object.defineProperty(one, "headers", { value: headers });
  return one;
}

function checked(part: "params" | "body", schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value);
  if (!result.success) throw validationError(part, result.error.issues);
  return result.data;
}

function warned(body: unknown, warnings: readonly string[]): unknown {
  return warnings.length === 0 ? body : { ...(body as object), warnings };
}

function refused(request: FastifyRequest, thrown: unknown): OperationAnswer {
  const { problem, retryAfterSeconds } = problemFor(request, thrown);
  return {
    status: problem.status,
    body: problem,
    ...(retryAfterSeconds === undefined ? {} : { retry_after: retryAfterSeconds }),
  };
}

/** What handlers say besides their answer's body. */
class OperationReply {
  statusCode = 200;
  #replayed = false;

  code(status: number): this {
    this.statusCode = status;
    return this;
  }

  header(name: string): this {
    if (name === REPLAYED) this.#replayed = true;
    return this;
  }

  getHeader(name: string): string | undefined {
    return name === REPLAYED && this.#replayed ? "true" : undefined;
  }

  answer(body: unknown): OperationAnswer {
    return { status: this.statusCode, body, ...(this.#replayed ? { replayed: true } : {}) };
  }
}

const REPLAYED = "idempotent-replayed";

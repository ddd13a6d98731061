// Requests for a window of work (WIRE 3): their clients end for good at an answer of 429 or 5xx. What would be answered so is held
// instead, without work, and ends in order.

import type { FastifyInstance, FastifyRequest } from "fastify";
import { PerdureError } from "../errors.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** With `wait_seconds` it opens a window. */
    windows?: boolean;
  }
  interface FastifyRequest {
    /** A window that is only held: nothing is handed out through it. */
    heldOnly: boolean;
    /** Nobody could be asked whose key it is, because the database is away. */
    unverified: boolean;
  }
}

export const isWindow = (request: FastifyRequest): boolean =>
  request.routeOptions.config?.windows === true &&
  (request.query as { wait_seconds?: unknown } | undefined)?.wait_seconds !== undefined;

/** What arrives on an open connection while the server closes is refused, except windows: they end in order. */
export function installWindows(app: FastifyInstance): void {
  let closing = false;
  app.decorateRequest("heldOnly", false);
  app.decorateRequest("unverified", false);
  app.addHook("preClose", (done) => {
    closing = true;
    done();
  });
  app.addHook("onRequest", (request, _reply, done) => {
    if (closing && !isWindow(request))
      throw new PerdureError("shutting_down", "the server is shutting down; connect again in a moment", {
        retryAfterSeconds: 1,
      });
    done();
  });
}

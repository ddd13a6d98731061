// What each route needs of its caller. A route that does not say is refused when it is registered: whatever is new is closed.

import type { FastifyInstance, FastifyRequest, RouteOptions } from "fastify";
import { type Access, may, type Verb } from "../domain/access.ts";
import { PerdureError } from "../errors.ts";

/** A verb, or one of several; `key`: any key will do; `nothing`: whoever asks. */
export type Needs = Verb | readonly Verb[] | "key" | "nothing";

/** What is done as an operator only sometimes. */
export interface Audited {
  /** Its name; of a route that does several things, that of the one it did. */
  readonly action: string | ((request: FastifyRequest) => string);
  /** Asked once it is done. */
  readonly when: (request: FastifyRequest) => boolean | Promise<boolean>;
}

declare module "fastify" {
  interface FastifyContextConfig {
    needs?: Needs;
    /** The name under which the audit log has it, for what operators and administrators do. */
    audit?: string | Audited;
  }
  interface FastifyInstance {
    /** Every route there is, for tests that walk them all. */
    declaredRoutes: { readonly method: string; readonly url: string; readonly needs: Needs }[];
  }
}

/** The only routes that may need nothing: whether the server lives, and the dashboard's files, which hold no data. */
const OPEN_ROUTES: ReadonlySet<string> = new Set(["/health", "/v1/health", "/ready", "/", "/assets/:file"]);

/** Installed before the first route. */
export function requireDeclarations(app: FastifyInstance): void {
  app.decorate("declaredRoutes", []);
  app.addHook("onRoute", (route: RouteOptions) => {
    const needs = route.config?.needs;
    const named = `${String(route.method)} ${route.url}`;
    if (needs === undefined) throw new Error(`${named} does not say what it needs: config: { needs: … }`);
    if (needs === "nothing" && !OPEN_ROUTES.has(route.url))
      throw new Error(`${named} is not one of the open routes`);
    for (const method of [route.method].flat())
      app.declaredRoutes.push({ method: String(method), url: route.url, needs });
  });
}

/** Refuses a key without the verb. */
export function requireVerb(access: Access, needs: Needs): void {
  if (needs === "nothing" || needs === "key") return;
  const verbs = [needs].flat() as Verb[];
  if (verbs.some((verb) => may(access, verb))) return;
  throw new PerdureError(
    "forbidden",
    `this needs a key with the scope ${verbs.join(" or ")}; ask whoever made the key`,
    { details: { scopes: verbs } },
  );
}

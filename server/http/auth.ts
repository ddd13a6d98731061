// Who is asking. One onRequest hook for the whole server, closed by default: a new route is protected without doing
// anything. It compares keys and checks Host and Origin; what a principal may touch is decided by the use cases.

import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { DEFAULT_NAMESPACE, parseAddress } from "../domain/address.ts";
import { invalid, PerdureError } from "../errors.ts";

export interface Principal {
  /** `org/workspace` that completes one-part addresses. */
  readonly namespace: string;
  /** The key's own address: `from_agent` when none is given, and the owner of idempotency keys. */
  readonly sender: string;
  readonly operator: boolean;
  readonly allNamespaces: boolean;
  /** The address this request acts for (`owner_agent`, `x-owner-agent`), as sent. */
  readonly ownerAgent: string | null;
}

declare module "fastify" {
  interface FastifyRequest {
    principal: Principal;
  }
}

export interface AuthOptions {
  /** Without one the server is in loopback development mode: any key or none, but only from this machine. */
  readonly adminKey: string | null;
  /** Origins of web pages that may call besides the server's own. */
  readonly corsOrigins?: readonly string[];
}

/** Routes that answer without a key, as their patterns are registered. */
const OPEN_ROUTES: ReadonlySet<string> = new Set(["/health", "/v1/health", "/ready"]);

const DEVELOPER: Omit<Principal, "ownerAgent"> = {
  namespace: DEFAULT_NAMESPACE,
  sender: `agent://${DEFAULT_NAMESPACE}/developer`,
  operator: true,
  allNamespaces: true,
};
const ADMIN: Omit<Principal, "ownerAgent"> = { ...DEVELOPER, sender: `agent://${DEFAULT_NAMESPACE}/admin` };
const NOBODY: Principal = {
  namespace: DEFAULT_NAMESPACE,
  sender: `agent://${DEFAULT_NAMESPACE}/nobody`,
  operator: false,
  allNamespaces: false,
  ownerAgent: null,
};

const digest = (text: string): Buffer => createHash("sha256").update(text, "utf8").digest();

/** `x-api-key` wins: clients may send an actor token as Authorization beside it. */
export function presentedKey(request: FastifyRequest): string | null {
  const apiKey = request.headers["x-api-key"];
  if (apiKey !== undefined) return Array.isArray(apiKey) ? (apiKey[0] ?? null) : apiKey;
  const bearer = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? "");
  return bearer?.[1] ?? null;
}

/** The host of `Host` or of an origin, without port: `localhost`, its subdomains, 127.0.0.0/8 and ::1 are loopback. */
export function isLoopbackHost(host: string): boolean {
  const name = host.trim().toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
  if (name === "localhost" || name.endsWith(".localhost") || name === "[::1]") return true;
  return /^127\.(?:\d{1,3})\.(?:\d{1,3})\.(?:\d{1,3})$/.test(name);
}

function originHost(origin: string): string | null {
  try {
    const url = new URL(origin);
    return url.protocol === "http:" || url.protocol === "https:" ? url.host : null;
  } catch {
    return null;
  }
}

function ownerAgent(request: FastifyRequest): string | null {
  const fromQuery = (request.query as { owner_agent?: unknown } | undefined)?.owner_agent;
  const owner = typeof fromQuery === "string" ? fromQuery : request.headers["x-owner-agent"];
  if (typeof owner !== "string" || owner === "") return null;
  try {
    parseAddress(owner);
  } catch (error) {
    throw invalid(
      typeof fromQuery === "string" ? "?owner_agent" : "header x-owner-agent",
      (error as Error).message,
    );
  }
  return owner;
}

/** Without a key the browser is the danger: a page from elsewhere, or a name rebound to this machine. */
function requireLocal(request: FastifyRequest, allowedOrigins: ReadonlySet<string>): void {
  const host = request.headers.host ?? "";
  if (!isLoopbackHost(host)) {
    throw new PerdureError(
      "forbidden",
      "without PERDURE_ADMIN_KEY this server answers only to localhost; call it by that name, or set a key to serve other hosts",
    );
  }
  const { origin } = request.headers;
  if (origin !== undefined) {
    const from = originHost(origin);
    if ((from === null || !isLoopbackHost(from)) && !allowedOrigins.has(origin)) {
      throw new PerdureError(
        "forbidden",
        "this web page may not call a server that has no key; set PERDURE_ADMIN_KEY and PERDURE_CORS_ORIGINS",
      );
    }
    return;
  }
  // An <img> or a form of another site sends no Origin on GET, but current browsers say where it comes from.
  if (
    request.headers["sec-fetch-site"] === "cross-site" &&
    request.headers["sec-fetch-mode"] !== "navigate"
  ) {
    throw new PerdureError(
      "forbidden",
      "requests started by another site are refused while the server has no key; set PERDURE_ADMIN_KEY",
    );
  }
}

export function installAuth(app: FastifyInstance, options: AuthOptions): void {
  const expected = options.adminKey === null ? null : digest(options.adminKey);
  const allowedOrigins = new Set(options.corsOrigins ?? []);
  app.decorateRequest("principal", null as never);
  app.addHook("onRequest", (request, _reply, done) => {
    const route = request.routeOptions.url;
    request.principal = NOBODY;
    if (route !== undefined && OPEN_ROUTES.has(route)) return done();
    if (expected === null) {
      requireLocal(request, allowedOrigins);
      request.principal = { ...DEVELOPER, ownerAgent: ownerAgent(request) };
      return done();
    }
    const key = presentedKey(request);
    if (key === null) {
      throw new PerdureError(
        "unauthorized",
        "send the API key as x-api-key, or as Authorization: Bearer KEY",
      );
    }
    // Digests have one length, so the comparison tells nothing about the key's.
    if (!timingSafeEqual(digest(key), expected)) {
      throw new PerdureError(
        "unauthorized",
        "the API key is not known to this server; check the value of x-api-key",
      );
    }
    request.principal = { ...ADMIN, ownerAgent: ownerAgent(request) };
    done();
  });
}

/** Use cases for operators only. */
export function requireOperator(request: FastifyRequest): void {
  if (!request.principal.operator) {
    throw new PerdureError("forbidden", "this needs an operator's key; ask whoever runs the server");
  }
}

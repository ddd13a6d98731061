// Who is asking, and may they. Two onRequest hooks for the whole server, closed by default: a route says what it needs
// (needs.ts), or it is not registered. Between them requests are counted (rate-limits.ts), also those that are then refused.
// Keys are compared here; what a principal may touch is decided with the rows.

import { timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Access, covers, EVERYTHING, may, seesEverything } from "../domain/access.ts";
import { DEFAULT_NAMESPACE, formatAddress, parseAddress } from "../domain/address.ts";
import { isKeyText, keyDigest, looksLikeKey } from "../domain/api-key.ts";
import { Refusal } from "../domain/refusal.ts";
import { invalid, PerdureError } from "../errors.ts";
import type { ApiKey } from "../store/queries/keys.ts";
import type { KeyRing } from "./key-ring.ts";
import { requireLocal } from "./local.ts";
import { requireDeclarations, requireVerb } from "./needs.ts";
import { isWindow } from "./windowed.ts";

export interface Principal {
  /** `org/workspace` that completes one-part addresses. */
  readonly namespace: string;
  /** The key's own address: `from_agent` when none is given, and the owner of idempotency keys. */
  readonly sender: string;
  readonly access: Access;
  readonly operator: boolean;
  readonly allNamespaces: boolean;
  /** The address this request acts for (`owner_agent`, `x-owner-agent`), written in full: a bare name might read like the server's own. */
  readonly ownerAgent: string | null;
  /** Of a key in the database. */
  readonly keyId: string | null;
}

declare module "fastify" {
  interface FastifyRequest {
    principal: Principal;
  }
}

export interface AuthOptions {
  readonly adminKey: string | null;
  /** Without, the server is in loopback development mode: any key or none, but only from this machine. */
  readonly keysRequired: boolean;
  readonly ring: KeyRing;
  /** Is told of each request without a valid key; may throw another refusal. */
  readonly onWrongKey: (request: FastifyRequest) => void;
  /** Origins of web pages that may call besides the server's own. */
  readonly corsOrigins?: readonly string[];
}

type Known = Omit<Principal, "ownerAgent">;

function known(access: Access, keyId: string | null): Known {
  return {
    namespace: access.namespace,
    sender: formatAddress(access.address),
    access,
    operator: may(access, "operate"),
    allNamespaces: seesEverything(access),
    keyId,
  };
}

const named = (name: string): Known =>
  known({ ...EVERYTHING, namespace: DEFAULT_NAMESPACE, address: `${DEFAULT_NAMESPACE}/${name}` }, null);

const DEVELOPER = named("developer");
const ADMIN = named("admin");
const NOBODY: Principal = {
  ...known(
    { verbs: [], namespace: DEFAULT_NAMESPACE, address: `${DEFAULT_NAMESPACE}/nobody`, patterns: [] },
    null,
  ),
  ownerAgent: null,
};

/** The same for every request while the key is remembered. */
const knownKeys = new WeakMap<ApiKey, Known>();

function ofKey(key: ApiKey): Known {
  const before = knownKeys.get(key);
  if (before !== undefined) return before;
  const { scopes: verbs, namespace, address, patterns } = key;
  const who = known({ verbs, namespace, address, patterns }, key.id);
  knownKeys.set(key, who);
  return who;
}

/** `x-api-key` wins: clients may send an actor token as Authorization beside it. */
export function presentedKey(request: FastifyRequest): string | null {
  const apiKey = request.headers["x-api-key"];
  if (apiKey !== undefined) return Array.isArray(apiKey) ? (apiKey[0] ?? null) : apiKey;
  const bearer = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? "");
  return bearer?.[1] ?? null;
}

/** Whose windows these are: the key as it was presented, so that it can be told without the database. */
export function accountOf(request: FastifyRequest): string {
  const text = presentedKey(request);
  return text === null ? request.principal.sender : keyDigest(text).toString("base64url");
}

function ownerAgent(request: FastifyRequest, { access, namespace }: Known): string | null {
  const fromQuery = (request.query as { owner_agent?: unknown } | undefined)?.owner_agent;
  const owner = typeof fromQuery === "string" ? fromQuery : request.headers["x-owner-agent"];
  if (typeof owner !== "string" || owner === "") return null;
  const place = typeof fromQuery === "string" ? "?owner_agent" : "header x-owner-agent";
  const address = addressOf(owner, namespace, place);
  requireStandIn(access, address);
  return formatAddress(address);
}

function addressOf(text: string, namespace: string, place: string): string {
  try {
    return parseAddress(text, namespace).canonical;
  } catch (error) {
    throw invalid(place, (error as Error).message);
  }
}

/** Nobody speaks for an address that its key does not cover. */
export function requireStandIn(access: Access, address: string): void {
  if (covers(access, address)) return;
  throw new PerdureError(
    "forbidden",
    `this key does not stand for ${formatAddress(address)}: none of its patterns covers that address`,
  );
}

export function installAuth(app: FastifyInstance, options: AuthOptions): void {
  const { ring, keysRequired } = options;
  const expected = options.adminKey === null ? null : keyDigest(options.adminKey);
  const allowedOrigins = new Set(options.corsOrigins ?? []);
  const isAdmin = (digest: Buffer): boolean =>
    // Digests have one length, so the comparison tells nothing about the key's.
    expected !== null && timingSafeEqual(digest, expected);

  const refuse = (request: FastifyRequest, why: PerdureError): never => {
    options.onWrongKey(request);
    throw why;
  };

  const admit = (request: FastifyRequest, who: Known): void => {
    request.principal = { ...who, ownerAgent: null };
  };

  requireDeclarations(app);
  app.decorateRequest("principal", null as never);
  app.addHook("onRequest", (request, _reply, done) => {
    request.principal = NOBODY;
    if (request.routeOptions.config?.needs === "nothing") return done();
    if (!keysRequired) {
      requireLocal(request, allowedOrigins);
      admit(request, DEVELOPER);
      return done();
    }
    const text = presentedKey(request);
    if (text === null) return refuse(request, noKey());
    const digest = keyDigest(text);
    if (isAdmin(digest)) {
      admit(request, ADMIN);
      return done();
    }
    const found = ring.find(text, digest);
    const admitKey = (key: ApiKey | undefined): void => {
      admit(request, ofKey(key ?? refuse(request, unknownKey(text))));
    };
    if (!(found instanceof Promise)) {
      admitKey(found);
      return done();
    }
    found.then(admitKey).then(
      () => done(),
      (error) => {
        if (error instanceof PerdureError || error instanceof Refusal || !isWindow(request))
          return done(error);
        // Who it is will be known at its next request; until then it is told nothing.
        request.unverified = true;
        request.heldOnly = true;
        done();
      },
    );
  });
}

/** Behind `installAuth`, which says who it is: whether that may call this route, and for whom. */
export function installRights(app: FastifyInstance): void {
  app.addHook("onRequest", (request, _reply, done) => {
    // Nobody knows yet; it is told nothing.
    if (request.unverified) return done();
    const { principal } = request;
    const needs = request.routeOptions.config?.needs ?? "key";
    requireVerb(principal.access, needs);
    if (needs !== "nothing") request.principal = { ...principal, ownerAgent: ownerAgent(request, principal) };
    done();
  });
}

const noKey = (): PerdureError =>
  new PerdureError("unauthorized", "send the API key as x-api-key, or as Authorization: Bearer KEY");

function unknownKey(text: string): PerdureError {
  return new PerdureError(
    "unauthorized",
    looksLikeKey(text) && !isKeyText(text)
      ? "this is not a whole API key: it was mistyped or cut off; check the value of x-api-key"
      : "the API key is not known to this server, or has ended; check the value of x-api-key",
  );
}

/** What concerns all namespaces alike is for whoever may see them all. */
export function requireAllNamespaces(request: FastifyRequest): void {
  if (!request.principal.allNamespaces)
    throw new PerdureError("forbidden", "this needs a key of all namespaces (the address pattern *)");
}

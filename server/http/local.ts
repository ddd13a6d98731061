// Development mode: without a key a server answers whoever is on this machine, and nobody else. A browser is the danger, which
// a page from elsewhere makes ask in its stead, and so is a proxy that lets others in. Keys are not looked at here.

import type { FastifyRequest } from "fastify";
import { PerdureError } from "../errors.ts";

/** The host of `Host` or of an origin, without port: `localhost`, its subdomains, 127.0.0.0/8 and ::1 are loopback. */
function isLoopbackHost(host: string): boolean {
  const name = host.trim().toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
  if (name === "localhost" || name.endsWith(".localhost") || name === "[::1]") return true;
  return isLoopbackAddress(name);
}

function isLoopbackAddress(address: string): boolean {
  return address === "::1" || /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address);
}

function originHost(origin: string): string | null {
  try {
    const url = new URL(origin);
    return url.protocol === "http:" || url.protocol === "https:" ? url.host : null;
  } catch {
    return null;
  }
}

/** What proxies and tunnels add of whom they serve. */
const FORWARDED = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"] as const;

/** For somebody on another machine, or for nobody knows whom. */
function isForwarded({ headers }: FastifyRequest): boolean {
  const parties = FORWARDED.flatMap((name) => headers[name] ?? []).flatMap((value) => value.split(","));
  return parties.some((party) => !isLoopbackAddress(party.trim()) && !isLoopbackHost(party));
}

/** What another site may lead a browser to: nothing that takes work or changes anything. */
function isHarmless({ method, routeOptions }: FastifyRequest): boolean {
  const needs = routeOptions.config?.needs ?? "key";
  return (method === "GET" || method === "HEAD") && (needs === "read" || needs === "key");
}

/** A frame or an <img> of another site sends no Origin with a GET, but current browsers say where it comes from. */
function isLedHere(request: FastifyRequest): boolean {
  const { headers } = request;
  if (headers["sec-fetch-site"] !== "cross-site") return false;
  return headers["sec-fetch-mode"] !== "navigate" || !isHarmless(request);
}

const refused = (why: string): PerdureError => new PerdureError("forbidden", why);

export function requireLocal(request: FastifyRequest, allowedOrigins: ReadonlySet<string>): void {
  // A name rebound to this machine is another's name all the same.
  if (!isLoopbackHost(request.headers.host ?? ""))
    throw refused(
      "without PERDURE_ADMIN_KEY this server answers only to localhost; call it by that name, or set a key to serve other hosts",
    );
  if (isForwarded(request))
    throw refused(
      "a proxy passes this on for somebody elsewhere, and the server has no key; set PERDURE_ADMIN_KEY to serve others",
    );
  const { origin } = request.headers;
  if (origin !== undefined) {
    const from = originHost(origin);
    if ((from !== null && isLoopbackHost(from)) || allowedOrigins.has(origin)) return;
    throw refused(
      "this web page may not call a server that has no key; set PERDURE_ADMIN_KEY and PERDURE_CORS_ORIGINS",
    );
  }
  if (isLedHere(request))
    throw refused(
      "requests started by another site are refused while the server has no key; set PERDURE_ADMIN_KEY",
    );
}

// Addresses in paths: `:a` encoded as one segment, or up to three raw segments.

import type { FastifyRequest } from "fastify";
import { type Address, parseAddress } from "../../domain/address.ts";

export const ADDRESS_PATHS = ["/v1/agents/:a", "/v1/agents/:a/:b", "/v1/agents/:a/:b/:c"] as const;

/** The address in the path, completed by the caller's namespace. What the caller may do there is the route's to ask. */
export function addressIn(request: FastifyRequest): Address {
  const { a, b, c } = request.params as { a: string; b?: string; c?: string };
  const text = [a, b, c].filter((part) => part !== undefined).join("/");
  return parseAddress(text, request.principal.namespace);
}

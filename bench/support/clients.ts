// Owns how the client programs reach the server: with the SDK as it comes, or with one HTTP call for each operation.

import { PerdureClient } from "@perdure/sdk";

export interface Connection {
  readonly baseUrl: string;
  readonly apiKey?: string;
  /** `single`: an HTTP call for each operation, as an agent makes that has no SDK. */
  readonly calls: "coalesced" | "single";
}

/** What the SDK uses to make many operations one request; it does without where the server does not know them. */
const SHARED = /\/v1\/(batch|outcomes\/stream)(\?|$)/;
const unknownRoute = () =>
  new Response('{"code":"not_found","status":404}', {
    status: 404,
    headers: { "content-type": "application/problem+json" },
  });

const singleCalls: typeof fetch = (input, init) => {
  const url = typeof input === "string" ? input : input instanceof URL ? input.href : input.url;
  return SHARED.test(url) ? Promise.resolve(unknownRoute()) : fetch(input, init);
};

export function clientOf({ baseUrl, apiKey, calls }: Connection): PerdureClient {
  return new PerdureClient({
    baseUrl,
    logger: false,
    ...(apiKey !== undefined && { apiKey }),
    ...(calls === "single" && { fetch: singleCalls }),
  });
}

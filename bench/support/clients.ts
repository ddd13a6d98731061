// Owns how the client programs reach the server: with the SDK as it comes, or with one HTTP call for each operation.

import { PerdureClient } from "@perdure/sdk";

export interface Connection {
  readonly baseUrl: string;
  readonly apiKey?: string;
  /** `single`: an HTTP call for each write, as an agent makes that has no SDK. */
  readonly calls: "coalesced" | "single";
}

export function clientOf({ baseUrl, apiKey, calls }: Connection): PerdureClient {
  const coalesce = calls === "coalesced";
  return new PerdureClient({ baseUrl, logger: false, coalesce, ...(apiKey !== undefined && { apiKey }) });
}

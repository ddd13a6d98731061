// A server that wants keys, and keys for it.

import { call, startTestServer, type TestServer, type TestServerOptions } from "./server.ts";

export const ADMIN_KEY = "an-administrators-key-for-tests-only";

export type Headers = Record<string, string>;
export const ADMIN: Headers = { "x-api-key": ADMIN_KEY };

/** Patient with whoever tries many wrong keys. */
export const startKeyedServer = (options: TestServerOptions = {}): Promise<TestServer> =>
  startTestServer({
    ...options,
    env: { PERDURE_ADMIN_KEY: ADMIN_KEY, PERDURE_WRONG_KEYS_BURST: "1000000", ...options.env },
  });

export interface Issued {
  readonly id: string;
  readonly text: string;
  /** What a request carries to be made with it. */
  readonly headers: Headers;
}

export async function issueKey(
  server: { readonly url: string },
  address: string,
  scopes: readonly string[],
  more: Record<string, unknown> = {},
  by: Headers = ADMIN,
): Promise<Issued> {
  const body = { name: `key of ${address}`, address, scopes, ...more };
  const answer = await call(server, "POST", "/v1/keys", body, by);
  if (answer.status !== 200) throw new Error(`no key: ${JSON.stringify(answer.body)}`);
  return { id: answer.body.key.id, text: answer.body.api_key, headers: { "x-api-key": answer.body.api_key } };
}

// Ways to a server that count what goes over them, and what is sent on them.
import { randomUUID } from "node:crypto";
import { afterEach } from "vitest";
import { Http, type HttpRequest } from "../../sdk/src/http.ts";
import { sender, server } from "./agents.ts";

export interface Line {
  fetch: typeof fetch;
  /** Requests made so far: `METHOD /path`, ids left out, and `×N` for a batch of N. */
  requests: string[];
}

export type Tamper = (request: string, pass: () => Promise<Response>) => Promise<Response>;

/** The way to the server, counted; `tamper` may do something else than pass the request on. */
export function line(tamper: Tamper = (_, pass) => pass()): Line {
  const requests: string[] = [];
  return {
    requests,
    fetch: (input, init) => {
      const path = new URL(String(input)).pathname.replace(/[0-9a-f-]{36}/, "ID");
      const ops = path === "/v1/batch" ? ` ×${JSON.parse(String(init?.body)).ops.length}` : "";
      const request = `${init?.method ?? "GET"} ${path}${ops}`;
      requests.push(request);
      return tamper(request, () => fetch(input, init));
    },
  };
}

const https: Http[] = [];

/** Before the tests of a file: what they opened is closed behind each. */
export function useLines(): void {
  afterEach(() => {
    for (const http of https.splice(0)) http.close();
  });
}

export function httpOver({ fetch }: Line, maxRetries = 3, baseUrl = server.url): Http {
  const http = new Http({ baseUrl, apiKey: undefined, maxRetries, fetch });
  https.push(http);
  return http;
}

export const intent = (address: string, more: object = {}) => ({
  intentType: "job",
  toAgent: address,
  payload: {},
  ...more,
});
export const create = (address: string, more: Partial<HttpRequest> = {}): HttpRequest => ({
  method: "POST",
  path: "/v1/intents",
  body: { intent_type: "job", to_agent: address, payload: {} },
  idempotencyKey: randomUUID(),
  batch: { op: "create" },
  ...more,
});
export const countAt = async (address: string) => {
  let count = 0;
  for await (const _ of sender.listIntents({ toAgent: address })) count += 1;
  return count;
};
export const isBatch = (request: string) => request.startsWith("POST /v1/batch");
export const never = () => new Promise<never>(() => undefined);
export const all = <T>(count: number, make: (n: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, n) => make(n)));

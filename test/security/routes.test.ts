// Every route there is, streams and documents too: closed to whoever has no key, a wrong one, or one without the verb.
import Fastify from "fastify";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VERBS } from "../../server/domain/access.ts";
import { newKeyText } from "../../server/domain/api-key.ts";
import { requireDeclarations } from "../../server/http/needs.ts";
import { type Headers, issueKey, startKeyedServer } from "../support/keys.ts";
import type { TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startKeyedServer();
});
afterAll(() => server.close());

const OPEN = ["/health", "/v1/health", "/ready", "/", "/assets/:file"];
const ID = "00000000-0000-7000-8000-000000000001";

const fill = (url: string) =>
  url.replaceAll(/:(\w+)/g, (_, name: string) =>
    name === "id" ? ID : name === "scope" ? "session:s" : name,
  );

async function statusOf(method: string, url: string, headers: Headers): Promise<number> {
  const response = await fetch(`${server.url}${fill(url)}`, {
    method,
    headers: { "content-type": "application/json", ...headers },
    ...(method === "GET" || method === "HEAD" ? {} : { body: "{}" }),
  });
  await response.body?.cancel();
  return response.status;
}

/** Where a request with these headers is answered otherwise. */
async function others(expected: number, headers: (needs: unknown) => Headers | undefined): Promise<string[]> {
  const found: string[] = [];
  for (const { method, url, needs } of server.app.declaredRoutes) {
    const sent = OPEN.includes(url) ? undefined : headers(needs);
    if (sent === undefined) continue;
    const status = await statusOf(method, url, sent);
    if (status !== expected) found.push(`${method} ${url}: ${status}`);
  }
  return found;
}

describe("every route", () => {
  test("is known here, the documents, the streams and HEAD among them", () => {
    const all = server.app.declaredRoutes.map(({ method, url }) => `${method} ${url}`);
    expect(all.length).toBeGreaterThan(70);
    for (const one of [
      "GET /metrics",
      "GET /openapi.json",
      "GET /v1/agents/:a/:b/:c/intents/stream",
      "HEAD /v1/intents",
    ])
      expect(all).toContain(one);
    const open = server.app.declaredRoutes.filter(({ needs }) => needs === "nothing").map(({ url }) => url);
    expect([...new Set(open)].sort()).toEqual([...OPEN].sort());
  });

  test("is closed without a key", async () => {
    expect(await others(401, () => ({}))).toEqual([]);
  });

  test("is closed to a wrong key, be it well formed or not", async () => {
    expect(await others(401, () => ({ "x-api-key": "wrong" }))).toEqual([]);
    const text = newKeyText();
    expect(await others(401, () => ({ authorization: `Bearer ${text}` }))).toEqual([]);
  });

  test("is closed to a key that has every verb but the one it needs", async () => {
    const keys = new Map<string, Headers>();
    for (const { needs } of server.app.declaredRoutes) {
      if (needs === "nothing" || needs === "key") continue;
      const scopes = VERBS.filter((verb) => ![needs].flat().includes(verb));
      if (keys.has(String(needs))) continue;
      const key = await issueKey(server, "acme/prod/almost", scopes, { patterns: ["*"] });
      keys.set(String(needs), key.headers);
    }
    expect(await others(403, (needs) => keys.get(String(needs)))).toEqual([]);
  });

  test("that does not exist, and every method that does not, is closed too", async () => {
    for (const path of ["/v1", "/v1/nothing", "/dashboard", "/v1/intents/x/y/z"])
      for (const method of ["GET", "POST", "HEAD", "OPTIONS", "PATCH", "DELETE"])
        expect(await statusOf(method, path, {}), `${method} ${path}`).toBe(401);
    expect(await statusOf("OPTIONS", "/v1/intents", {})).toBe(401);
    expect(await statusOf("PUT", "/v1/intents", {})).toBe(401);
  });
});

test("a route that does not say what it needs is refused when it is registered", () => {
  const app = Fastify();
  requireDeclarations(app);
  expect(() => app.get("/new", () => ({}))).toThrow(/GET \/new does not say what it needs/);
  expect(() => app.get("/open", { config: { needs: "nothing" } }, () => ({}))).toThrow(
    /not one of the open routes/,
  );
  app.get("/closed", { config: { needs: "read" } }, () => ({}));
  expect(app.declaredRoutes.map(({ url }) => url)).toContain("/closed");
});

test("the numbers of all tenants are for whoever sees all namespaces", async () => {
  const one = await issueKey(server, "acme/prod/grafana", ["read"], { patterns: ["acme/*"] });
  const all = await issueKey(server, "acme/prod/prometheus", ["read"], { patterns: ["*"] });
  expect(await statusOf("GET", "/metrics", one.headers)).toBe(403);
  expect(await statusOf("GET", "/metrics", all.headers)).toBe(200);
});

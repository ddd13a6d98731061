// The files of the dashboard as they are served: without a key, with nothing in them that could run from elsewhere.
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let html: string;
beforeAll(async () => {
  server = await startKeyedServer();
  html = await (await fetch(`${server.url}/`)).text();
});
afterAll(() => server.close());

const assets = (): string[] =>
  [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map((match) => match[1] as string);

test("the page and what it names need no key, say what they are, and are kept for ever under their names", async () => {
  const page = await fetch(`${server.url}/`);
  expect(page.status).toBe(200);
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(page.headers.get("cache-control")).toBe("no-cache");
  expect(assets().length).toBe(3);
  const types: string[] = [];
  for (const path of assets()) {
    const answer = await fetch(`${server.url}${path}`);
    expect(answer.status, path).toBe(200);
    expect(answer.headers.get("cache-control"), path).toContain("immutable");
    types.push(answer.headers.get("content-type") ?? "");
    await answer.arrayBuffer();
  }
  expect(types.sort()).toEqual([
    "image/svg+xml",
    "text/css; charset=utf-8",
    "text/javascript; charset=utf-8",
  ]);
});

test("nothing runs on the page that is not from this server, and nobody frames it", async () => {
  for (const path of ["/", ...assets()]) {
    const { headers } = await fetch(`${server.url}${path}`);
    const policy = headers.get("content-security-policy") ?? "";
    expect(policy, path).toContain("default-src 'none'");
    expect(policy, path).toContain("frame-ancestors 'none'");
    expect(policy, path).not.toMatch(/unsafe|\*|http:|data:/);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
  }
  expect(html).not.toMatch(/<script(?![^>]*\bsrc=)|\son\w+=|style=/);
});

test("all of it together is less than 150 KB on the wire", async () => {
  const bodies = await Promise.all(
    ["/", ...assets()].map(async (path) => (await fetch(`${server.url}${path}`)).arrayBuffer()),
  );
  const bytes = bodies.reduce((sum, body) => sum + gzipSync(Buffer.from(body)).length, 0);
  expect(bytes).toBeGreaterThan(5_000);
  expect(bytes).toBeLessThan(150_000);
});

test("it is sent zipped to who can read that, and not at all to who has it", async () => {
  const plain = await fetch(`${server.url}/`, { headers: { "accept-encoding": "identity" } });
  expect(plain.headers.get("content-encoding")).toBeNull();
  const raw = await server.app.inject({ url: "/", headers: { "accept-encoding": "gzip" } });
  expect(raw.headers["content-encoding"]).toBe("gzip");
  expect(gunzipSync(raw.rawPayload).toString()).toBe(await plain.text());
  const again = await fetch(`${server.url}/`, {
    headers: { "if-none-match": plain.headers.get("etag") ?? "" },
  });
  expect(again.status).toBe(304);
});

test("what is not there is a problem like any other, and no path leads out of the folder", async () => {
  for (const path of [
    "/assets/app.js",
    "/assets/index.html",
    "/assets/..%2f..%2fpackage.json",
    "/assets/%00",
  ]) {
    const answer = await call(server, "GET", path);
    expect([404, 422, 400], path).toContain(answer.status);
    expect(answer.body.code, path).toBeDefined();
  }
  expect((await call(server, "POST", "/", {})).status).toBe(401);
});

test("PERDURE_DASHBOARD=off serves the API alone", async () => {
  const bare = await startTestServer({ env: { PERDURE_DASHBOARD: "off" } });
  expect((await call(bare, "GET", "/")).status).toBe(404);
  expect((await call(bare, "GET", "/v1/intents")).status).toBe(200);
  await bare.close();
});

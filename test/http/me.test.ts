// GET /v1/me: what the key of a request is and may.
import { afterAll, beforeAll, expect, test } from "vitest";
import { ADMIN, issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startKeyedServer();
});
afterAll(() => server.close());

const me = (headers: Record<string, string>) => call(server, "GET", "/v1/me", undefined, headers);

test("any key is told what it is and may, and what time it is for the database", async () => {
  const patterns = ["acme/prod/web-*"];
  const key = await issueKey(server, "acme/prod/web", ["send"], { patterns });
  const { status, body } = await me(key.headers);
  expect(status).toBe(200);
  expect(body).toEqual({
    ok: true,
    caller: {
      ...{ key_id: key.id, address: "agent://acme/prod/web", namespace: "acme/prod" },
      ...{ scopes: ["send"], patterns, keys_required: true },
    },
    at: expect.stringMatching(/^\d{4}-.*Z$/),
  });
  expect(Math.abs(Date.parse(body.at) - Date.now())).toBeLessThan(60_000);
  expect(JSON.stringify(body)).not.toContain(key.text);
});

test("the administrator of the environment has no key in the database", async () => {
  const { body } = await me(ADMIN);
  expect(body.caller).toMatchObject({ key_id: null, patterns: ["*"], keys_required: true });
});

test("in development mode everybody may everything", async () => {
  const open = await startTestServer();
  try {
    const { body } = await call(open, "GET", "/v1/me");
    expect(body.caller).toMatchObject({ key_id: null, patterns: ["*"], keys_required: false });
    expect(body.caller.scopes).toContain("admin");
  } finally {
    await open.close();
  }
});

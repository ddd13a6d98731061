// perdure keys and perdure audit: the first key from the database, the others from the server.
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminKeysIn } from "../../server/store/first-key.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { perdure } from "./terminal.ts";

let database: TestDatabase;
let server: TestServer;
let admin: string;
beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer({ databaseUrl: database.url, keysRequired: true });
});
afterAll(async () => {
  await server.close();
  await database.drop();
});

const cli = (key: string, ...argv: string[]) => perdure(server.url, argv, { env: { PERDURE_API_KEY: key } });
const lastWord = (text: string) => text.trim().split("\n").at(-1) ?? "";

test("the first administrator's key is made by whoever has the database, and opens the server", async () => {
  expect(await adminKeysIn(database.url)).toEqual({ made: false, live: false });
  const made = await perdure(server.url, ["keys", "create", "first", "--admin"], {
    env: { DATABASE_URL: database.url },
  });
  expect(made.exit).toBe(0);
  admin = made.out.trim();
  expect(admin).toMatch(/^pdr_\w{49}$/);
  expect(made.err).toContain("shown only once");
  expect(await adminKeysIn(database.url)).toEqual({ made: true, live: true });
  expect((await cli(admin, "keys")).out).toMatch(/first +yes +agent:\/\/local\/dev\/admin/);
  expect((await cli("wrong", "keys")).exit).toBe(3);
  const refused = await cli("", "keys", "create", "x", "--admin", "--scope", "read");
  expect(refused).toMatchObject({ exit: 2, err: expect.stringContaining("takes no --address") });
});

test("a key is made, listed, rotated and revoked, and the audit log knows", async () => {
  const made = await cli(
    admin,
    ...["keys", "create", "web", "--address", "agent://acme/prod/web", "--scope", "send,read"],
    ...["--scope", "act", "--pattern", "acme/prod/*", "--expires", "90d", "--json"],
  );
  const { key, api_key } = JSON.parse(made.out);
  expect(key).toMatchObject({ scopes: ["send", "read", "act"], patterns: ["acme/prod/*"], live: true });
  expect((await cli(api_key, "list")).exit).toBe(0);
  expect((await cli(api_key, "keys", "list")).exit).toBe(3);
  const rotated = await cli(admin, "keys", "rotate", key.id, "--grace", "1h");
  expect(rotated.err).toContain("the old key works until");
  expect((await cli(lastWord(rotated.out), "list")).exit).toBe(0);
  expect((await cli(admin, "keys", "revoke", key.id)).out).toContain("web  revoked");
  expect((await cli(api_key, "list")).exit).toBe(3);
  const audit = await cli(admin, "audit");
  for (const action of ["key.create", "key.rotate", "key.revoke"]) expect(audit.out).toContain(action);
  expect(audit.out).not.toContain("pdr_");
});

test("a key without address or scope is a mistake in usage", async () => {
  expect(await cli(admin, "keys", "create", "x")).toMatchObject({
    exit: 2,
    err: expect.stringContaining("--address"),
  });
  const scopeless = await cli(admin, "keys", "create", "x", "--address", "a/b/c");
  expect(scopeless).toMatchObject({ exit: 2, err: expect.stringContaining("--scope") });
});

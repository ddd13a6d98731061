// Beyond loopback a server starts only if somebody can administer it: with PERDURE_ADMIN_KEY, or a key in its database.
import { spawn } from "node:child_process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { adminKeysIn, saveFirstAdminKey } from "../../server/store/first-key.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { SERVER } from "../support/programs.ts";
import { until } from "../support/server.ts";

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

function start(host: string) {
  const env = {
    PATH: process.env.PATH ?? "",
    HOST: host,
    PORT: "0",
    DATABASE_URL: database.url,
    PERDURE_LOG_FORMAT: "json",
  };
  const child = spawn(process.execPath, [SERVER], { env });
  let said = "";
  for (const pipe of [child.stdout, child.stderr])
    pipe.on("data", (piece: Buffer) => {
      said += piece.toString("utf8");
    });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { child, exited, said: () => said };
}

/** The port of a started server. */
async function portOf(server: ReturnType<typeof start>): Promise<string> {
  return until("it listens", () => /"url":"http:\/\/[^:]+:(\d+)"/.exec(server.said())?.[1]);
}

test("without any key it refuses, with words; with a key in the database it starts and wants it, on loopback too", async () => {
  const refused = start("0.0.0.0");
  expect(await refused.exited).toBe(1);
  expect(refused.said()).toContain("perdure keys create NAME --admin");
  const { text } = await saveFirstAdminKey(database.url, "first", null);
  for (const host of ["0.0.0.0", "127.0.0.1"]) {
    const server = start(host);
    try {
      const url = `http://127.0.0.1:${await portOf(server)}/v1/intents`;
      expect((await fetch(url)).status, host).toBe(401);
      expect((await fetch(url, { headers: { "x-api-key": text } })).status, host).toBe(200);
    } finally {
      server.child.kill("SIGTERM");
      await server.exited;
    }
  }
});

test("what once wanted keys wants them still after the last administrator's key has ended, and says what to do", async () => {
  const { text } = await saveFirstAdminKey(database.url, "ended", 1);
  await until("its end", async () => !(await adminKeysIn(database.url)).live);
  expect(await adminKeysIn(database.url)).toEqual({ made: true, live: false });
  for (const host of ["127.0.0.1", "0.0.0.0"]) {
    const server = start(host);
    try {
      const url = `http://127.0.0.1:${await portOf(server)}/v1/intents`;
      expect((await fetch(url)).status, host).toBe(401);
      expect((await fetch(url, { headers: { "x-api-key": text } })).status, host).toBe(401);
      expect(server.said()).toContain("perdure keys create NAME --admin");
    } finally {
      server.child.kill("SIGTERM");
      await server.exited;
    }
  }
});

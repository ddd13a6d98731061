// perdure verify at the terminal: its exit codes, its progress, and that it can be found.
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../../server/cli/run.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { openTerminal } from "./terminal.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const verify = async (url: string, ...more: string[]) => {
  const terminal = openTerminal({ DATABASE_URL: url });
  return { exit: await runCli(["verify", ...more], terminal.io), out: terminal.out, err: terminal.err };
};

test("an empty database is sound", async () => {
  expect(await verify(database.url)).toEqual({ exit: 0, out: "checked 0 intents: no violation\n", err: "" });
  const json = await verify(database.url, "--json");
  expect(JSON.parse(json.out)).toEqual({ ok: true, checked: 0, count: 0, violations: [] });
});

test("a database that cannot be read is not a broken one", async () => {
  const nowhere = await verify("postgres://127.0.0.1:1/none");
  expect(nowhere.exit).toBe(5);
  expect(nowhere.err).toContain("cannot read the database: connect ECONNREFUSED");
  const foreign = new URL(database.url);
  foreign.pathname = "/postgres";
  const other = await verify(foreign.href, "--json");
  expect(other.exit).toBe(2);
  expect(JSON.parse(other.err)).toMatchObject({ ok: false, code: "no_schema" });
});

test("progress is for people at a terminal", async () => {
  const terminal = openTerminal({ DATABASE_URL: database.url });
  const io = { ...terminal.io, terminal: { out: false, err: true } };
  expect(await runCli(["verify"], io)).toBe(0);
  expect(terminal.err).toMatch(/checked \[#+\] 0 of 0/);
  expect(terminal.out).toBe("checked 0 intents: no violation\n");
});

test.each(["bash", "zsh", "fish"])("%s completes it", async (shell) => {
  const terminal = openTerminal();
  await runCli(["completion", shell], terminal.io);
  expect(terminal.out).toMatch(/\bverify\b/);
});

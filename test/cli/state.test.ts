// perdure state, against a real server.
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";
import { perdure } from "./terminal.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const state = (...argv: string[]) => perdure(server.url, ["state", ...argv]);

test("sets, gets, lists, removes and tells the history, with numbers as they were typed", async () => {
  expect((await state("set", "session:cli", "a", '{"n": 12345678901234567890}')).out).toBe("version 1\n");
  expect((await state("set", "session:cli", "a", "2", "--if-version", "1")).out).toBe("version 2\n");
  const conflict = await state("set", "session:cli", "a", "3", "--if-version", "1");
  expect(conflict.exit).toBe(1);
  expect(conflict.err).toContain("is at version 2, not 1");
  expect((await state("get", "session:cli", "a")).out).toBe("2\n");
  const raw = await fetch(`${server.url}/v1/state/session%3Acli/a?version=1`);
  expect(await raw.text()).toContain("12345678901234567890");
  expect((await state("list", "session:cli", "--prefix", "a")).out).toMatch(
    /KEY +VERSION +UPDATED +VALUE\na +2 /,
  );
  expect((await state("delete", "session:cli", "a")).out).toBe("removed\n");
  expect((await state("delete", "session:cli", "a")).out).toBe("there was nothing to remove\n");
  expect((await state("history", "session:cli", "a", "--json")).out.trim().split("\n")).toHaveLength(3);
  expect((await state("list", "session:cli")).err).toContain("the scope is empty");
});

test("says what is wrong with what was typed", async () => {
  const text = await state("set", "session:cli", "b", "hello");
  expect(text.exit).toBe(2);
  expect(text.err).toContain("a text needs its quotes");
  expect((await state("set", "session:cli", "b", "1", "--if-version", "x")).exit).toBe(2);
  expect((await state("get", "nowhere", "b")).err).toContain("is not a state scope");
  expect((await state("get", "session:cli", "missing")).exit).toBe(1);
  expect((await state("get", "session:cli")).exit).toBe(2);
});

import { expect, test } from "vitest";
import { presentable } from "../../server/http/problem.ts";

test.each([
  new Error("Connection terminated due to connection timeout"),
  new Error("timeout exceeded when trying to connect"),
  Object.assign(new Error("connect"), { code: "ECONNREFUSED" }),
])("a database that is away is 503 unavailable: %s", (error) => {
  expect(presentable(error)?.code).toBe("unavailable");
});

test("a bug is nobody's business", () => {
  expect(presentable(new Error("the connection of ideas"))).toBeUndefined();
});

// examples/tested: the agent that its own test runs in memory, with a real server and the world as it is.
import { expect, test } from "vitest";
import { stage, useStage } from "./live-stage.ts";

useStage("test");

test("the agent that has a test charges once and mails once", async () => {
  const id = await stage.send("shop", "order.v1", { item: "book", amount: 12, email: "ann@example.org" });
  stage.start("tested/agent.mjs");
  const { result } = await stage.reaches(id, "COMPLETED");
  expect(result).toMatch(/^book: paid 12, ch_[0-9a-f]{8}$/);
  expect(stage.ledger().map((line) => line.split(" ")[0])).toEqual(["charge", "mail"]);
});

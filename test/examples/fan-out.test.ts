// examples/fan-out: a parent of twenty, killed while it waits, and a child's agent killed on the way.
import { expect, test } from "vitest";
import { call, until } from "../support/server.ts";
import { server, stage, useStage } from "./live-stage.ts";

useStage("file");

interface Child {
  readonly status: string;
  readonly attempt: number;
}

async function childrenOf(id: string): Promise<Child[]> {
  const { body } = await call(server, "GET", `/v1/intents?parent_intent_id=${id}&limit=100`);
  return body.intents;
}

test("the parent of twenty waits without an agent, a child's agent is killed, and all twenty are collected once", async () => {
  const id = await stage.send("book-counter", "book.v1", { pages: 20 });
  const parent = stage.start("fan-out/parent.mjs");
  const doomed = stage.start("fan-out/child.mjs", { HANG_IN: "7" });
  const waiting = await stage.reaches(id, "WAITING");
  expect(waiting).toMatchObject({ lifecycle_waiting_reason: "WAITING_FOR_AGENT", attempt: 1 });
  // Nobody holds it, so it costs nothing that its agent is killed now.
  const { body } = await call(server, "GET", `/v1/intents/${id}/explain`);
  expect(body.holder).toBeUndefined();
  expect(body.summary).toContain("waits for 20 children");
  await parent.kill();

  // Page 7 is stuck; the other nineteen pass it by.
  await until("nineteen are counted", async () => {
    const children = await childrenOf(id);
    return children.filter((child) => child.status === "COMPLETED").length === 19;
  });
  expect(await stage.get(id)).toMatchObject({ status: "WAITING", lost_deliveries: 0 });
  await doomed.kill();
  stage.start("fan-out/child.mjs");
  await until("the last one is counted", async () => {
    const children = await childrenOf(id);
    return children.every((child) => child.status === "COMPLETED");
  });

  stage.start("fan-out/parent.mjs");
  const ended = await stage.reaches(id, "COMPLETED");
  expect(ended.result).toEqual({ words: 2_100, pages: 20, failed: 0 });
  expect(ended).toMatchObject({ attempt: 2, lost_deliveries: 0 });
  const pages = Array.from({ length: 20 }, (_, index) => index + 1);
  expect(stage.counts()).toEqual(
    Object.fromEntries(pages.map((page) => [`page ${page}`, page === 7 ? 2 : 1])),
  );
  const attempts = (await childrenOf(id)).map((child) => child.attempt).sort();
  expect(attempts).toEqual([...Array(19).fill(1), 2]);
});

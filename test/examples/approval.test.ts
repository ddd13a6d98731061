// examples/approval: a question that outlives its agent, the server and the database, each killed while it is open.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { freePort } from "../faults/processes.ts";
import { cleanUp, killHard, makeScratch } from "../postgres/scratch.ts";
import { SHORT_LEASES } from "../support/server.ts";
import { LONG_LEASES, openStage, type Stage } from "./stage.ts";

let stage: Stage | undefined;
afterEach(async () => {
  await stage?.close();
  await cleanUp();
});

async function postgresPid(dataDir: string): Promise<number> {
  const file = join(dataDir, "postgres", "data", "postmaster.pid");
  return Number((await readFile(file, "utf8")).split("\n")[0]);
}

test("a question waits through kill -9 of agent, server and PostgreSQL, and its answer from the command line lets a new agent go on", async () => {
  stage = openStage(`http://127.0.0.1:${await freePort()}`);
  // Without a DATABASE_URL the server brings its own PostgreSQL.
  const env = { ...SHORT_LEASES, ...LONG_LEASES, PERDURE_DATA_DIR: await makeScratch() };
  const server = await stage.serve(env);
  const id = await stage.send("publisher", "post.v1", { topic: "bees" });
  const agent = stage.start("approval/agent.mjs");
  await agent.says('waiting post.v1 (for a decision: Publish "All about bees"?)');

  await agent.kill();
  await server.kill();
  await killHard(await postgresPid(env.PERDURE_DATA_DIR));
  await stage.serve(env);
  const next = stage.start("approval/agent.mjs");

  expect(await stage.perdure("tasks")).toMatch(
    new RegExp(`^${id} +approve .*approved, rejected +Publish "All about bees"\\?$`, "m"),
  );
  expect(await stage.get(id)).toMatchObject({
    status: "WAITING",
    lifecycle_waiting_reason: "WAITING_FOR_HUMAN",
  });
  await stage.perdure("approve", id, "--comment", "well done");
  const ended = await stage.reaches(id, "COMPLETED");
  expect(ended).toMatchObject({ lost_deliveries: 0, result: { published: true, comment: "well done" } });
  await next.says("resuming post.v1 (skipped draft, approve");
  expect(stage.ledger()).toEqual(["draft", "publish All about bees"]);
});

// examples/graceful: Ctrl+C in the middle of the second of four steps.
import { expect, test } from "vitest";
import { stage, useStage } from "./live-stage.ts";

useStage("file");

const STEPS = ["build", "test", "upload", "announce"];

test("Ctrl+C lets the step finish and says what is saved, the next agent does the rest, and no delivery counts as lost", async () => {
  const id = await stage.send("releaser", "release.v1", { version: "1.2.0" });
  const first = stage.start("graceful/agent.mjs", { WORK_MS: "1500" });
  await stage.ledgerHas("test");
  first.signal("SIGINT");
  expect(await first.over).toBe(0);
  // As slow as this machine may be, what it says is what it did.
  const done = stage.ledger().length;
  expect(done).toBeGreaterThanOrEqual(2);
  expect(first.output).toContain("SIGINT: finishing the current step, then handing back");
  const saved = STEPS.slice(0, done).join(", ");
  expect(first.output).toContain(`handed back release.v1 ${done}/4 (saved ${saved})`);
  expect(await stage.get(id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });

  const second = stage.start("graceful/agent.mjs", { WORK_MS: "0" });
  const ended = await stage.reaches(id, "COMPLETED");
  expect(ended).toMatchObject({ attempt: 2, lost_deliveries: 0, result: "1.2.0 is out" });
  await second.says(`resuming release.v1 ${done + 1}/4 (skipped ${saved}; `);
  expect(stage.ledger()).toEqual(STEPS);
});

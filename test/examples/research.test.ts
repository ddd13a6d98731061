// examples/research: an agent killed in the middle of a loop that makes its steps as it goes.
import { expect, test } from "vitest";
import { call, until } from "../support/server.ts";
import { server, stage, useStage } from "./live-stage.ts";

useStage("test");

const CALLS = [
  "think with 0 notes",
  "search sunlight",
  "search air",
  "think with 2 notes",
  "search scattering",
  "think with 3 notes",
  "search eyes",
  "think with 4 notes",
];

const ask = () => stage.send("researcher", "research.v1", { question: "Why is the sky blue?" });

test("the loop goes on until the model says that it is done, and calls it no more than it must", async () => {
  stage.start("research/agent.mjs");
  const { result } = await stage.reaches(await ask(), "COMPLETED");
  expect(result).toMatchObject({ rounds: 4 });
  expect(result.answer).toContain("Small things scatter blue more than red.");
  expect(stage.counts()).toEqual(Object.fromEntries(CALLS.map((name) => [name, 1])));
});

test.each(["search air", "search scattering", "think with 3 notes", "think with 4 notes"])(
  "killed in '%s', the next agent makes that call again and no other",
  async (place) => {
    const id = await ask();
    const first = stage.start("research/agent.mjs", { HANG_IN: place });
    await stage.ledgerHas(place);
    if (place === "search air")
      // The one beside it is recorded, while this one hangs.
      await until("the other search is recorded", async () => {
        const { body } = await call(server, "GET", `/v1/intents/${id}/steps`);
        return body.steps.some(
          (step: { key: string; status: string }) => step.key === "search sunlight" && step.status === "done",
        );
      });
    await first.kill();
    const second = stage.start("research/agent.mjs");
    const ended = await stage.reaches(id, "COMPLETED");
    expect(ended).toMatchObject({ attempt: 2, result: { rounds: 4 } });
    expect(stage.counts()).toEqual(Object.fromEntries(CALLS.map((name) => [name, name === place ? 2 : 1])));
    await second.says("resuming research.v1 (skipped ");
  },
);

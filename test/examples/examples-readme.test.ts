// Every code block of examples/README.md is run here as it stands.
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { stage, useStage } from "./live-stage.ts";

const examples = new URL("../../examples/", import.meta.url);
const readme = readFileSync(new URL("README.md", examples), "utf8");
const blocks = new Map(
  [...readme.matchAll(/^## (.+)\n[\s\S]*?```bash\n([\s\S]*?)```/gm)].map((match) => [match[1], match[2]]),
);

useStage("test");

/** What the block of a section prints. */
const run = (section: string) => stage.bash(blocks.get(section) ?? "false");

test("every block of the examples' README is one that is run below, and every link leads to a file", () => {
  expect([...blocks.keys()]).toEqual(["Research", "Payment", "Approval", "Fan-out", "Session", "Graceful"]);
  expect(readme.match(/^```\w/gm)).toHaveLength(blocks.size);
  const links = [...readme.matchAll(/\]\(([^)]+)\)/g)].map((match) => match[1] ?? "");
  expect(links).toHaveLength(11);
  for (const link of links) expect(existsSync(new URL(link, examples)), link).toBe(true);
});

test("the block on research makes the call it was killed in twice, and every other one once", async () => {
  const output = await run("Research");
  expect(output).toContain("Small things scatter blue more than red.");
  const counts = [...output.matchAll(/^ +(\d) (search|think) (.+)$/gm)].map((match) => [match[3], match[1]]);
  expect(counts).toHaveLength(8);
  expect(counts.filter(([, times]) => times !== "1")).toEqual([["scattering", "2"]]);
});

test("the block on payment ends with one charge in the book", async () => {
  const output = await run("Payment");
  const charges = output.match(/^ch_\w+ 12 .+$/gm);
  expect(charges).toHaveLength(1);
  expect(output).toContain(`book: paid 12, ${charges?.[0]?.split(" ")[0]}`);
});

test("the block on approval publishes once, what was drafted once", async () => {
  const output = await run("Approval");
  expect(output).toContain("well done");
  expect(output.match(/^(draft|publish .+)$/gm)).toEqual(["draft", "publish All about bees"]);
});

test("the block on fan-out counts every page", async () => {
  expect(JSON.parse((await run("Fan-out")).match(/^\{.*\}$/m)?.[0] ?? "")).toEqual({
    words: 2_100,
    pages: 20,
    failed: 0,
  });
});

test("the block on sessions pauses and leaves all findings in the memory", async () => {
  const output = await run("Session");
  expect(output).toMatch(/paused/);
  const findings = JSON.parse(output.match(/^\[[\s\S]*?^\]|^\[.*\]$/m)?.[0] ?? "");
  expect(findings.map((one: { text: string }) => one.text).sort()).toEqual(
    ["Rome", "Oslo", "Bern"]
      .flatMap((city) => ["sights", "food", "hotels", "trains"].map((topic) => `${topic} of ${city}`))
      .sort(),
  );
});

test("the block on a graceful stop says what was saved and comes to the end", async () => {
  const output = await run("Graceful");
  expect(output).toMatch(/handed back release\.v1 [23]\/4 \(saved build, test/);
  expect(output).toContain("1.2.0 is out");
});

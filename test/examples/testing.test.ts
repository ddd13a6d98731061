// What users copy to test their agents: the README of the SDK, the guide and the example are run as they stand, in processes of their own.
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const blocksOf = (file: string, language: string): string[] =>
  [...read(file).matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, "g"))].map(
    (match) => match[1] ?? "",
  );

/** Inside the checkout, where the SDK is found by its name. */
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(root, "dist", "testing-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

/** Ends by itself once its tests are over: nothing of the kit keeps a process alive. */
function node(...args: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, args, { cwd: folder, env: { ...process.env, NODE_OPTIONS: "" } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, output })));
}

async function passes(...args: string[]): Promise<string> {
  const { code, output } = await node(...args);
  expect(code, output).toBe(0);
  return output;
}

const TAP = "--test-reporter=tap";
const LONG_MS = 120_000;

test(
  "the SDK's README shows tests that pass",
  async () => {
    const [block = "", ...others] = blocksOf("sdk/README.md", "js");
    expect(others).toEqual([]);
    expect(await passes(TAP, write("readme.test.mjs", block))).toContain("# pass 2");
  },
  LONG_MS,
);

test(
  "the guide's agent, test and story pass",
  async () => {
    const [agent = "", exploring = "", story = "", ...others] = blocksOf("docs/guides/testing.md", "js");
    expect(others).toEqual([]);
    write("order.mjs", agent);
    expect(await passes(TAP, write("order.test.mjs", exploring))).toContain("# pass 1");
    expect(await passes(write("story.mjs", story))).toContain("✗ crash before record publish");
  },
  LONG_MS,
);

test(
  "the guide quotes what is found without the key",
  async () => {
    const [agent = "", exploring = ""] = blocksOf("docs/guides/testing.md", "js");
    const [quoted = ""] = blocksOf("docs/guides/testing.md", "text");
    write("order.mjs", agent);
    const wrong = exploring.replace("`charge ${amount}`, { key, ", "`charge ${amount}`, { ");
    expect(wrong).not.toBe(exploring);
    const { code, output } = await node(TAP, write("quoted.test.mjs", wrong));
    expect(code).toBe(1);
    const lines = quoted.split("\n").map((line) => line.trim());
    for (const line of lines.filter((one) => one !== "" && one !== "…")) expect(output).toContain(line);
  },
  LONG_MS,
);

test(
  "the example's test passes, and finds the bug that is planted in its agent",
  async () => {
    cpSync(join(root, "examples/tested"), folder, { recursive: true });
    const script = join(folder, "order.test.mjs");
    expect(await passes(TAP, script)).toContain("# pass 1");
    const agent = read("examples/tested/order.mjs");
    const planted = agent.replace(
      "bank.charge(ctx.payload.amount, step.idempotencyKey)",
      "bank.charge(ctx.payload.amount)",
    );
    expect(planted).not.toBe(agent);
    write("order.mjs", planted);
    const { code, output } = await node(TAP, script);
    expect(code).toBe(1);
    expect(output).toContain("The first, crash after effect charge 12:");
    expect(output).toContain('"charge 12" happened 2 times');
  },
  LONG_MS,
);

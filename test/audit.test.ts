// Covers scripts/audit.mjs on saved reports, as `npm audit --json` writes them.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const SCRIPT = fileURLToPath(new URL("../scripts/audit.mjs", import.meta.url));
const ID = "GHSA-aaaa-bbbb-cccc";

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "perdure-audit-"));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function audit(report: unknown, allowed: unknown): { code: number | null; output: string } {
  const write = (name: string, value: unknown): string => {
    const file = join(scratch, name);
    writeFileSync(file, JSON.stringify(value));
    return file;
  };
  const args = ["--report", write("report.json", report), "--allowed", write("allowed.json", allowed)];
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, ...args], { encoding: "utf8" });
  return { code: status, output: `${stdout}${stderr}` };
}

const advisory = {
  source: 1,
  name: "left",
  title: "Prototype pollution",
  url: `https://github.com/advisories/${ID}`,
  severity: "high",
};
const VULNERABLE = {
  vulnerabilities: { left: { via: [advisory] }, right: { via: ["left"] } },
  metadata: { dependencies: { total: 2 } },
};
const CLEAN = { vulnerabilities: {}, metadata: { dependencies: { total: 2 } } };

test("a vulnerability that is not allowed fails, and is named once", () => {
  const { code, output } = audit(VULNERABLE, []);
  expect(code).toBe(1);
  expect(output).toContain(`left: high: Prototype pollution (${ID}`);
  expect(output).toContain("1 advisories, 1 not allowed");
});

test("an allowed one passes until its day, and not longer", () => {
  const entry = { id: ID, why: "its input is ours", until: "9999-12-31" };
  expect(audit(VULNERABLE, [entry])).toMatchObject({
    code: 0,
    output: expect.stringContaining("its input is ours"),
  });
  expect(audit(VULNERABLE, [{ ...entry, until: "2020-01-01" }]).code).toBe(1);
});

test("an entry without a reason or a day is refused, and one that is not needed is named", () => {
  expect(audit(CLEAN, [{ id: ID }]).code).not.toBe(0);
  const entry = { id: ID, why: "was needed", until: "9999-12-31" };
  expect(audit(CLEAN, [entry])).toMatchObject({
    code: 0,
    output: expect.stringContaining("take it off the list"),
  });
});

test("a registry that cannot be asked is said so, and fails nothing", () => {
  for (const report of [{ message: "405 Method Not Allowed", statusCode: 405 }, null]) {
    const { code, output } = audit(report, []);
    expect(code).toBe(0);
    expect(output).toContain("could not be asked");
  }
});

test("nothing is allowed today", () => {
  const file = fileURLToPath(new URL("../scripts/audit-allowed.json", import.meta.url));
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual([]);
});

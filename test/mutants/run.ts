// npm run test:mutants [-- NAME]: breaks the server in each known way, in a copy, and sees whether the judge notices.

import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MUTANTS, type Mutant } from "./mutants.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const COPIED = [
  "server",
  "sdk",
  "test",
  "migrations",
  "scripts",
  "package.json",
  "tsconfig.json",
  "tsconfig.base.json",
  "tsconfig.build.json",
  "tsconfig.programs.json",
  "vitest.config.ts",
];
const LIMIT_MS = 300_000;

/** Seeds of the faults: a mutant may need more than one chance. */
const TRIES = 3;

const SUITES = {
  model: { file: "test/model/model.test.ts", env: { MODEL_RUNS: "120", MODEL_SHRINK: "off" } },
  faults: { file: "test/faults/suite.test.ts", env: { FAULT_MS: "25000" } },
  tenants: { file: "test/security/tenants.test.ts", env: { TENANTS_RUNS: "1500" } },
} as const;

function makeCopy(): string {
  const copy = mkdtempSync(join(tmpdir(), "perdure-mutant-"));
  for (const name of COPIED)
    cpSync(join(root, name), join(copy, name), {
      recursive: true,
      filter: (path) => !/\/node_modules(\/|$)/.test(path),
    });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  return copy;
}

function mutate(copy: string, { file, find, replace, name }: Mutant): void {
  const path = join(copy, file);
  const pieces = readFileSync(path, "utf8").split(find);
  if (pieces.length !== 2)
    throw new Error(
      `the mutant ${JSON.stringify(name)} fits ${pieces.length - 1} times into ${file}; mend it`,
    );
  writeFileSync(path, pieces.join(replace));
}

/** Resolves with the exit code and what was printed. */
function run(
  copy: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd: copy,
      env: { ...process.env, NO_COLOR: "1", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    const late = setTimeout(() => child.kill("SIGTERM"), LIMIT_MS);
    child.once("close", (code) => {
      clearTimeout(late);
      resolve({ code, output });
    });
  });
}

/** How it was noticed; null when it was not. Without a mutant, whether the judge finds fault with the server as it is. */
async function judge(
  mutant: Mutant | null,
  suite: (typeof SUITES)[keyof typeof SUITES],
  tries: number,
): Promise<string | null> {
  const copy = makeCopy();
  try {
    if (mutant !== null) mutate(copy, mutant);
    const bin = join(root, "node_modules");
    const built = await run(
      copy,
      [join(bin, "typescript/bin/tsc"), "-b", "sdk/tsconfig.build.json", "tsconfig.build.json"],
      {},
    );
    // What the compiler refuses to emit would be no proof.
    if (built.code !== 0 && !built.output.includes("error TS6133"))
      throw new Error(`the mutant does not build:\n${built.output}`);
    for (let done = 0; done < tries; done += 1) {
      const { code, output } = await run(
        copy,
        [join(bin, "vitest/vitest.mjs"), "run", suite.file],
        suite.env,
      );
      if (code !== 0) return firstReason(output);
    }
    return null;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** The most telling line first. */
const TELLING = [/furthest try: .*/, /"message": .*/, /message: .*/, /Error: .*/];

function firstReason(output: string): string {
  for (const pattern of TELLING) {
    const found = pattern.exec(output)?.[0];
    if (found !== undefined) return found.trim().slice(-220);
  }
  return "the suite failed";
}

const asked = process.argv.slice(2);
const chosen = MUTANTS.filter(({ name }) => asked.length === 0 || asked.some((part) => name.includes(part)));
// A judge that finds fault with everything would catch every mutant.
for (const name of new Set(chosen.map((mutant) => mutant.judge))) {
  const suite = SUITES[name];
  const reason = await judge(null, suite, 1);
  if (reason === null) continue;
  console.error(`the ${name} suite fails without a mutant: ${reason}`);
  process.exit(1);
}
let missed = 0;
for (const [index, mutant] of chosen.entries()) {
  const began = performance.now();
  const reason = await judge(mutant, SUITES[mutant.judge], TRIES);
  if (reason === null) missed += 1;
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(
    `${index + 1}/${chosen.length}  ${reason === null ? "MISSED" : "caught"}  ${mutant.name} (${mutant.judge}, ${seconds} s)`,
  );
  if (reason !== null) console.log(`       ${reason}`);
}
console.log(
  missed === 0 ? `all ${chosen.length} mutants caught` : `${missed} of ${chosen.length} mutants missed`,
);
process.exit(missed === 0 ? 0 : 1);

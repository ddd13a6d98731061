// Owns what a figure is worth nothing without: on what it was measured.

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, platform, release, totalmem } from "node:os";
import { promisify } from "node:util";

async function git(...args: readonly string[]): Promise<string | undefined> {
  return promisify(execFile)("git", [...args]).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
}

/** The commit, and whether the files differ from it. */
export async function describeCommit(): Promise<string> {
  const commit = await git("rev-parse", "--short=12", "HEAD");
  if (commit === undefined) return "unknown";
  return (await git("status", "--porcelain", "--untracked-files=no")) === "" ? commit : `${commit}+changes`;
}

/** Of the package that is measured. */
export async function ownVersion(): Promise<string> {
  const file = await readFile(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { version: string }).version;
}

export const describeMachine = () => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: availableParallelism(),
  memory_gb: Math.round(totalmem() / 2 ** 30),
  system: `${platform()} ${release()}`,
  /** How busy it was with others' work when the run began. */
  load_average: loadavg().map((load) => Math.round(load * 100) / 100),
});

// What tests start as processes of their own is compiled once, before them (global-setup.ts): a loader that compiles at each
// start takes a second of it, some hundred times.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Where a source of this repository is, compiled. */
export const compiled = (source: string): string => join(root, "dist", source.replace(/\.ts$/, ".js"));

/** Brings the server and the programs of tests up to date; what is wrong with their types is told elsewhere. */
export async function compilePrograms(): Promise<void> {
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  try {
    await promisify(execFile)(process.execPath, [compiler, "-b", join(root, "tsconfig.programs.json")]);
  } catch (error) {
    console.warn(`tests: ${String((error as { stdout?: unknown }).stdout ?? error)}`);
  }
}

// What tests start as processes of their own is compiled once, before them (global-setup.ts): a loader that compiles at each
// start takes a second of it, some hundred times.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Where a source of this repository is, compiled. */
export const compiled = (source: string): string => join(root, "dist", source.replace(/\.ts$/, ".js"));

/** The server that a build has made, of today or, from before there were bundles, of an older revision. */
export function serverIn(distribution: string): string {
  const bundle = join(distribution, "bundle/main.js");
  return existsSync(bundle) ? bundle : join(distribution, "server/main.js");
}

/** As it is started by its users. */
export const SERVER = join(root, "dist/bundle/main.js");

/** Brings the server and the programs of tests up to date; what is wrong with their types is told elsewhere. */
export async function compilePrograms(): Promise<void> {
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  await Promise.all([
    make([compiler, "-b", join(root, "tsconfig.programs.json")]),
    make([join(root, "scripts/build-server.mjs")]),
  ]);
}

async function make(program: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)(process.execPath, program);
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    console.warn(`tests: ${stdout + stderr || String(error)}`);
  }
}

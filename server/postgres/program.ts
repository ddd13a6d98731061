// Owns how a PostgreSQL program is run: as the right user, with an environment of its own. Nothing of our
// environment may leak in: PG* variables would redirect it, and our keys would be readable in /proc.
import { spawn } from "node:child_process";
import { parse } from "node:path";
import type { Identity } from "./identity.ts";

const PASSED_ON = ["PATH", "SystemRoot", "TEMP", "TMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

export interface ProgramOptions {
  cwd: string;
  env: NodeJS.ProcessEnv;
  uid?: number;
  gid?: number;
  windowsHide: true;
}

export function programOptions(identity: Identity | undefined): ProgramOptions {
  const env: NodeJS.ProcessEnv = { LC_ALL: "C", TZ: "UTC" };
  for (const name of PASSED_ON) if (process.env[name] !== undefined) env[name] = process.env[name];
  // Our working directory may be closed to that user, and PostgreSQL gives up when it cannot read its own.
  const cwd = parse(process.cwd()).root;
  return { cwd, env, windowsHide: true, ...(identity && { uid: identity.uid, gid: identity.gid }) };
}

export interface Outcome {
  readonly ok: boolean;
  readonly output: string;
}

/** Runs a program to its end. Never rejects: a program that cannot be started is `ok: false` with the reason. */
export function runProgram(
  file: string,
  args: readonly string[],
  identity: Identity | undefined,
  timeoutMs = 120_000,
): Promise<Outcome> {
  return new Promise((resolve) => {
    let output = "";
    const child = spawn(file, args, { ...programOptions(identity), stdio: ["ignore", "pipe", "pipe"] });
    const timer = setTimeout(() => {
      output += `\nstopped after ${timeoutMs} ms`;
      child.kill("SIGKILL");
    }, timeoutMs);
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", (error) => {
      clearTimeout(timer);
      resolve({ ok: false, output: error.message });
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ ok: code === 0, output: output.trim() });
    });
  });
}

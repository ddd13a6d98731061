// Nothing outlives a fault test, also when the test itself is killed, and also what is stopped by SIGSTOP: a process beside
// (fixtures/reaper.mjs) knows what is running, and ends it when the pipe from here ends.
import { type ChildProcess, spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

let reaper: ChildProcess | undefined;

function tell(message: object): void {
  if (reaper === undefined) {
    reaper = spawn(process.execPath, [fileURLToPath(new URL("./fixtures/reaper.mjs", import.meta.url))], {
      // A session of its own: what kills the whole group of the test does not reach it.
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      cwd: tmpdir(),
    });
    reaper.unref();
    const { stdin } = reaper;
    // Neither it nor the pipe to it keeps a test alive.
    if (stdin !== null && "unref" in stdin && typeof stdin.unref === "function") stdin.unref();
    stdin?.on("error", () => undefined);
  }
  reaper.stdin?.write(`${JSON.stringify(message)}\n`);
}

/** Does not outlive this process. */
export function adopt(child: ChildProcess): void {
  const { pid } = child;
  if (pid === undefined) return;
  tell({ kind: "born", pid });
  child.once("exit", () => tell({ kind: "dead", pid }));
}

/** A PostgreSQL that does not outlive this process, however often it is killed and started again; nor do its directories. */
export function adoptDatabase(home: string, directories: readonly string[]): void {
  tell({ kind: "database", dataDir: dataDirOf(home), directories });
}

export function forgetDatabase(home: string): void {
  tell({ kind: "stopped", dataDir: dataDirOf(home) });
}

/** Where an embedded PostgreSQL keeps its own files. */
const dataDirOf = (home: string): string => join(home, "postgres/data");

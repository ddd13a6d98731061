// Owns the word between `listen --exec` and the `exec` its command runs: "begin nothing new", and "I began nothing".
// A directory of empty files, because only the environment reaches a process that far down. Must not know what is handed back.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const CONTROL_DIR = "PERDURE_CONTROL_DIR";
const DRAINING = "draining";

/** The listener's side. */
export class HandBackControl {
  readonly directory: string = mkdtempSync(join(tmpdir(), "perdure-listen-"));

  /** From now on `exec` begins no step. */
  drain(): void {
    writeFileSync(join(this.directory, DRAINING), "");
  }

  /** Whether an `exec` of this delivery refused to begin: then however the command ended, it did not do its work. Forgets it. */
  takeBack(id: string, attempt: number): boolean {
    const file = join(this.directory, marker(id, attempt));
    if (!existsSync(file)) return false;
    rmSync(file, { force: true });
    return true;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The side of `exec`. Without a directory (started by hand) nothing drains and nobody is told. */
export function isDraining(directory: string | undefined): boolean {
  return directory !== undefined && existsSync(join(directory, DRAINING));
}

export function markHandedBack(directory: string | undefined, id: string, attempt: number): void {
  if (directory === undefined || !existsSync(directory)) return;
  writeFileSync(join(directory, marker(id, attempt)), "");
}

function marker(id: string, attempt: number): string {
  return `${id}-${attempt}`;
}

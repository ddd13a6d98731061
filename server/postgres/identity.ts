// Owns the question "as which system user does PostgreSQL run". PostgreSQL refuses to run as root, so a root
// process hands it to an existing unprivileged user. Must not create users or change directories.
import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { EmbeddedPostgresError } from "./errors.ts";

export interface Identity {
  readonly user: string;
  readonly uid: number;
  readonly gid: number;
}

const CANDIDATES = ["postgres", "_postgres", "nobody"];

export function runsAsRoot(): boolean {
  return process.getuid?.() === 0;
}

/** The user that runs PostgreSQL for a root process: the first of `postgres`, `_postgres` and `nobody` that exists. */
export async function unprivilegedUser(passwdFile = "/etc/passwd"): Promise<Identity> {
  const passwd = await readFile(passwdFile, "utf8").catch(() => "");
  const entries = passwd.split("\n").map((line) => line.split(":"));
  for (const user of CANDIDATES) {
    const entry = entries.find((fields) => fields[0] === user);
    const uid = Number(entry?.[2]);
    const gid = Number(entry?.[3]);
    if (Number.isInteger(uid) && Number.isInteger(gid) && uid > 0 && gid > 0) return { user, uid, gid };
  }
  throw new EmbeddedPostgresError(
    "postgres_start_failed",
    "PostgreSQL refuses to run as root, and this system has neither a user postgres nor nobody to run it as. " +
      "Start Perdure as an ordinary user, or set DATABASE_URL.",
  );
}

/** Whether the user may enter `directory`, judged by the permission bits of it and of everything above it. */
export async function canEnter(directory: string, identity: Identity): Promise<boolean> {
  const { mode, uid, gid } = await stat(directory);
  const bit = uid === identity.uid ? 0o100 : gid === identity.gid ? 0o010 : 0o001;
  if ((mode & bit) === 0) return false;
  const parent = dirname(directory);
  return parent === directory ? true : canEnter(parent, identity);
}

// Owns the decision where a data directory's database really is, and as whom PostgreSQL runs there. Usually it
// is inside the directory that was asked for; a root process whose directory the PostgreSQL user cannot enter
// keeps it under /var/lib/perdure and leaves a pointer. Never deletes or moves a database.
import { randomBytes } from "node:crypto";
import { chmod, link, lstat, mkdir, readFile, realpath, rm, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, EmbeddedPostgresError } from "./errors.ts";
import { canEnter, type Identity, runsAsRoot, unprivilegedUser } from "./identity.ts";

export interface Place {
  /** The directory that holds `postgres/`, with all links resolved. */
  readonly home: string;
  /** Who runs PostgreSQL; undefined: the user we are. */
  readonly identity: Identity | undefined;
  /** Where a copy of the programs may be put. */
  readonly copyBase: string;
  readonly relocated: boolean;
}

export const POINTER = "LOCATION";
const SHARED_BASE = "/var/lib/perdure";

/** Finds, or on first use chooses, the place of a data directory's database. */
export async function findPlace(asked: string, sharedBase = SHARED_BASE): Promise<Place> {
  const root = runsAsRoot();
  await makeDirectory(asked, root ? 0o711 : 0o700);
  const directory = await realpath(asked);
  if (await exists(join(directory, "PG_VERSION"))) {
    throw new EmbeddedPostgresError(
      "data_directory_unusable",
      `${directory} is itself a PostgreSQL data directory. Perdure keeps its own; set PERDURE_DATA_DIR to another directory, ` +
        "or start that PostgreSQL yourself and set DATABASE_URL.",
    );
  }

  const pointed = await readPointer(directory);
  const home = pointed ?? directory;
  const owner = await ownerOf(join(home, "postgres"));
  if (!root) {
    if (owner !== undefined && process.getuid !== undefined && owner.uid !== process.getuid()) {
      throw new EmbeddedPostgresError(
        "data_directory_unusable",
        `The database in ${home} belongs to the user with id ${owner.uid} (it was created by another user or by root). ` +
          "Start Perdure as that user or as root, or set PERDURE_DATA_DIR to another directory.",
      );
    }
    return { home, identity: undefined, copyBase: join(home, "runtime"), relocated: pointed !== undefined };
  }

  // A database that an ordinary user created keeps its owner when root starts it.
  const identity = owner !== undefined && owner.uid !== 0 ? owner : await unprivilegedUser();
  const found = { identity, copyBase: join(sharedBase, "runtime") };
  if (await canEnter(home, identity)) return { ...found, home, relocated: pointed !== undefined };
  if (owner !== undefined) {
    throw new EmbeddedPostgresError(
      "data_directory_unusable",
      `PostgreSQL runs as the user "${identity.user}", who can no longer enter ${home}. ` +
        `Give the directories above it the permission to enter (chmod o+x), or start Perdure as an ordinary user.`,
    );
  }
  return { ...found, home: await relocate(directory, sharedBase, identity), relocated: true };
}

async function ownerOf(path: string): Promise<Identity | undefined> {
  try {
    const { uid, gid } = await stat(path);
    return { user: String(uid), uid, gid };
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw unusable(path, error);
  }
}

async function readPointer(directory: string): Promise<string | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, POINTER), "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw unusable(join(directory, POINTER), error);
  }
  const target = text.split("\n").find((line) => line.startsWith("/"));
  if (target !== undefined && (await exists(target))) return await realpath(target);
  throw new EmbeddedPostgresError(
    "data_directory_unusable",
    `${join(directory, POINTER)} says that the database is in ${target ?? "(nothing readable)"}, which is not there. ` +
      "Bring it back from a backup, or delete that file to begin with an empty database.",
  );
}

/** A name of its own for every directory, so that a deleted and re-created one never finds its predecessor's data. */
async function relocate(directory: string, sharedBase: string, identity: Identity): Promise<string> {
  await makeDirectory(sharedBase, 0o755);
  const { uid, mode } = await lstat(sharedBase);
  if (uid !== 0 || (mode & 0o022) !== 0 || !(await canEnter(sharedBase, identity))) {
    throw new EmbeddedPostgresError(
      "data_directory_unusable",
      `${sharedBase} must belong to root, be writable by root only, and may be entered by everybody. Correct that, or set DATABASE_URL.`,
    );
  }
  const home = join(sharedBase, randomBytes(8).toString("hex"));
  await makeDirectory(home, 0o711);
  await writeFile(join(home, "OWNER"), `${directory}\n`);

  const draft = join(home, POINTER);
  await writeFile(
    draft,
    "# Perdure keeps the database of this directory elsewhere: PostgreSQL does not run as root here but as the\n" +
      `# user "${identity.user}", who cannot enter this directory. Without this file Perdure begins with an empty database.\n` +
      `${home}\n`,
  );
  try {
    await copyExclusively(draft, join(directory, POINTER));
    return home;
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    if (codeOf(error) !== "EEXIST") throw unusable(directory, error);
    // Somebody else starting at this moment was first.
    return (await readPointer(directory)) ?? home;
  } finally {
    await unlink(draft).catch(() => {});
  }
}

/** Whole or not at all, and only if there is none yet, across file systems. */
async function copyExclusively(from: string, to: string): Promise<void> {
  const staging = `${to}.new-${randomBytes(4).toString("hex")}`;
  await writeFile(staging, await readFile(from));
  try {
    await link(staging, to);
  } finally {
    await unlink(staging);
  }
}

async function makeDirectory(path: string, mode: number): Promise<void> {
  try {
    // chmod as well, because the umask may have taken bits away; an existing directory is left as it is.
    if ((await mkdir(path, { recursive: true })) !== undefined) await chmod(path, mode);
  } catch (error) {
    throw unusable(path, error);
  }
}

function unusable(path: string, cause: unknown): EmbeddedPostgresError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new EmbeddedPostgresError(
    "data_directory_unusable",
    `The data directory cannot be used (${path}): ${reason}. Set PERDURE_DATA_DIR to a directory this user can write.`,
    { cause },
  );
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

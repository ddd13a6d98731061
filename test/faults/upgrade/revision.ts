// An older revision of this repository, built beside it: in a worktree of its own, with the packages that are installed here.

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const run = promisify(execFile);
const git = async (...args: string[]): Promise<string> =>
  (await run("git", ["-C", root, ...args])).stdout.trim();

export interface Revision {
  /** Its commit and what its message says. */
  readonly name: string;
  readonly migrations: readonly string[];
  /** Its compiled server, and the programs of agents and initiators on top of its SDK. */
  readonly dist: string;
  remove(): Promise<void>;
}

/** There is nothing to build it from; the message says what to do. */
export class NoHistoryError extends Error {}

export async function migrationsOf(directory: string): Promise<string[]> {
  const files = await readdir(join(directory, "migrations"));
  return files.map((file) => file.replace(/\.sql$/, "")).sort();
}

export async function buildRevision(ref: string): Promise<Revision> {
  const commit = await git("rev-parse", "--verify", "--quiet", `${ref}^{commit}`).catch(() => {
    throw new NoHistoryError(
      `there is no commit ${JSON.stringify(ref)} here. An older server is built from the git history, which a tarball does not have and a shallow clone has in part: clone the repository, or git fetch --unshallow`,
    );
  });
  const directory = await mkdtemp(join(tmpdir(), "perdure-revision-"));
  const tree = join(directory, "tree");
  const remove = async () => {
    await git("worktree", "remove", "--force", tree).catch(() => undefined);
    await rm(directory, { recursive: true, force: true });
    await git("worktree", "prune").catch(() => undefined);
  };
  try {
    await git("worktree", "add", "--quiet", "--detach", tree, commit);
    await linkPackages(tree);
    await run("npm", ["run", "--silent", "build"], { cwd: tree });
    // The programs are those of today, which speak to the judge of today; the SDK that they find is the older one.
    await cp(join(root, "dist/test"), join(tree, "dist/test"), { recursive: true });
    return {
      name: await git("log", "-1", "--format=%h %s", commit),
      migrations: await migrationsOf(tree),
      dist: join(tree, "dist"),
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** All but our own, which are the older revision's. */
async function linkPackages(tree: string): Promise<void> {
  const packages = join(tree, "node_modules");
  await mkdir(join(packages, "@perdure"), { recursive: true });
  await symlink("../../sdk", join(packages, "@perdure/sdk"));
  for (const name of await readdir(join(root, "node_modules")))
    if (name !== "@perdure") await symlink(join(root, "node_modules", name), join(packages, name));
}

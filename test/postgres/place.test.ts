// Covers where the database goes and as whom PostgreSQL runs, and the repair or copy of its programs. What needs
// root runs only as root: an ordinary user never changes users.
import { cpSync, existsSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { chmod, readlink, symlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { locateBinaries, platformPackage, restoreLinks } from "../../server/postgres/binaries.ts";
import { startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { canEnter, type Identity, runsAsRoot, unprivilegedUser } from "../../server/postgres/identity.ts";
import { findPlace, POINTER } from "../../server/postgres/place.ts";
import { alsoRemove, cleanUp, killHolder, makeScratch, query, startHolder } from "./scratch.ts";

const root = runsAsRoot();
const nobody: Identity = { user: "nobody", uid: 65_534, gid: 65_534 };
const checkoutIsOpen = root && (await canEnter(dirname(fileURLToPath(import.meta.url)), nobody));

afterEach(cleanUp);

describe("the user who runs PostgreSQL for root", () => {
  test("is postgres, or else nobody", async () => {
    const file = join(await makeScratch(), "passwd");
    writeFileSync(file, "root:x:0:0::/:/bin/sh\nnobody:x:65534:65533::/:/x\npostgres:x:70:71::/:/x\n");
    expect(await unprivilegedUser(file)).toEqual({ user: "postgres", uid: 70, gid: 71 });
    writeFileSync(file, "root:x:0:0::/:/bin/sh\npostgres:x:0:0::/:/x\nnobody:x:65534:65533::/:/x\n");
    expect(await unprivilegedUser(file)).toEqual({ user: "nobody", uid: 65_534, gid: 65_533 });
    writeFileSync(file, "root:x:0:0::/:/bin/sh\n");
    await expect(unprivilegedUser(file)).rejects.toThrow(/ordinary user/);
  });

  test("may enter a directory only when every one above lets it in", async () => {
    const outer = await makeScratch(0o700);
    const inner = join(outer, "inner");
    mkdirSync(inner);
    await chmod(inner, 0o755);
    const stranger: Identity = { user: "stranger", uid: 54_321, gid: 54_321 };
    expect(await canEnter(inner, stranger)).toBe(false);
    await chmod(outer, 0o711);
    expect(await canEnter(inner, stranger)).toBe(true);
    await chmod(inner, 0o700);
    expect(await canEnter(inner, stranger)).toBe(false);
  });
});

describe("the place of a data directory", () => {
  test("is the directory itself, created when missing", async () => {
    const asked = join(await makeScratch(), "a", "b");
    expect(await findPlace(asked)).toMatchObject({ home: asked, relocated: false });
  });

  test("is known by its real name however it is reached", async () => {
    const asked = await makeScratch();
    const alias = join(await makeScratch(), "alias");
    await symlink(asked, alias);
    expect((await findPlace(alias)).home).toBe(asked);
  });

  test("is never silently replaced by an empty one when it is lost", async () => {
    const asked = await makeScratch();
    writeFileSync(join(asked, POINTER), "# elsewhere\n/nowhere/at/all\n");
    await expect(findPlace(asked)).rejects.toMatchObject({ code: "data_directory_unusable" });
  });

  test.runIf(root)("that only root may enter is a pointer to one that PostgreSQL can use", async () => {
    const asked = await makeScratch(0o700);
    const base = join(await makeScratch(), "base");
    const [one, two] = await Promise.all([findPlace(asked, base), findPlace(asked, base)]);
    expect(one.relocated).toBe(true);
    expect(dirname(one.home)).toBe(base);
    expect(two.home).toBe(one.home);
    expect(readFileSync(join(asked, POINTER), "utf8")).toContain(one.home);
    expect(readFileSync(join(one.home, "OWNER"), "utf8")).toBe(`${asked}\n`);

    // A directory that is deleted and made again is another one, with no memory of the first.
    unlinkSync(join(asked, POINTER));
    expect((await findPlace(asked, base)).home).not.toBe(one.home);
  });

  test.runIf(root)("is refused below a base that others can write", async () => {
    const base = await makeScratch(0o777);
    await expect(findPlace(await makeScratch(0o700), base)).rejects.toThrow(/writable by root only/);
  });

  test.runIf(root)("keeps its data over restarts when it is elsewhere", async () => {
    const asked = await makeScratch(0o700);
    const first = await startEmbeddedPostgres({ dataDir: asked });
    alsoRemove(first.dataDir);
    expect(first.dataDir).not.toBe(asked);
    await query(first.url, "create table kept as select 7 as n");
    await first.stop();
    const second = await startEmbeddedPostgres({ dataDir: asked });
    expect(second.dataDir).toBe(first.dataDir);
    expect(await query(second.url, "select n from kept")).toEqual([{ n: 7 }]);
    await second.stop();
  });

  test.runIf(checkoutIsOpen)("of an ordinary user stays theirs when root starts it afterwards", async () => {
    const dataDir = join(await makeScratch(0o777), "data"); // made by them, closed to others
    const theirs = await startHolder(dataDir, { uid: nobody.uid, gid: nobody.gid });
    expect(theirs).toMatchObject({ dataDir, adopted: false });
    await query(theirs.url, "create table kept as select 7 as n");
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toMatchObject({ code: "data_directory_in_use" });
    await killHolder(theirs, "SIGTERM");

    const roots = await startEmbeddedPostgres({ dataDir });
    expect(await query(roots.url, "select n from kept")).toEqual([{ n: 7 }]);
    await roots.stop();
    const again = await startHolder(dataDir, { uid: nobody.uid, gid: nobody.gid });
    expect(await query(again.url, "select n from kept")).toEqual([{ n: 7 }]);
    await killHolder(again, "SIGTERM");
  });

  test.runIf(checkoutIsOpen)("of root is refused to an ordinary user, with the reason", async () => {
    const dataDir = await makeScratch(0o755);
    await (await startEmbeddedPostgres({ dataDir })).stop();
    const theirs = await startHolder(dataDir, { uid: nobody.uid, gid: nobody.gid });
    expect(theirs.code).toBe("data_directory_unusable");
  });
});

describe("the programs", () => {
  async function copyOfPackage(
    mode: number,
  ): Promise<{ native: string; paths: Awaited<ReturnType<typeof platformPackage>> }> {
    const installed = await platformPackage();
    const original = resolve(dirname(installed.postgres), "..", "..");
    const directory = await makeScratch(mode);
    cpSync(original, join(directory, "package"), { recursive: true, verbatimSymlinks: true });
    const native = join(directory, "package", "native");
    const at = (path: string) => join(native, "bin", basename(path));
    const { postgres, initdb, pg_ctl } = installed;
    return { native, paths: { postgres: at(postgres), initdb: at(initdb), pg_ctl: at(pg_ctl) } };
  }

  test("work after an installation without scripts, which leaves out the library links", async () => {
    const { native, paths } = await copyOfPackage(0o755);
    const links = JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as {
      source: string;
      target: string;
    }[];
    for (const { target } of links) unlinkSync(join(native, "..", target));
    const binaries = await locateBinaries(undefined, join(native, "unused"), paths);
    expect(binaries.postgres).toBe(paths.postgres);
    for (const { source, target } of links) {
      expect(await readlink(join(native, "..", target))).toBe(basename(source));
    }
    expect(await restoreLinks(native)).toBe(true);
    expect(existsSync(join(native, "unused"))).toBe(false);
  });

  test.runIf(root)("are copied once when the user who runs PostgreSQL cannot reach them", async () => {
    const { paths } = await copyOfPackage(0o700);
    const copyBase = join(await makeScratch(), "runtime");
    const identity = await unprivilegedUser();
    const copied = await locateBinaries(identity, copyBase, paths);
    expect(dirname(resolve(dirname(copied.postgres), ".."))).toBe(copyBase);
    expect(await locateBinaries(identity, copyBase, paths)).toEqual(copied);
  });
});

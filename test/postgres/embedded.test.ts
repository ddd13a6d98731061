// Covers the life of the embedded PostgreSQL with real processes: first start, restart, kills, two servers.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { locateBinaries } from "../../server/postgres/binaries.ts";
import { startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { codeOf } from "../../server/postgres/errors.ts";
import { runsAsRoot, unprivilegedUser } from "../../server/postgres/identity.ts";
import { isAlive, stopPostmaster } from "../../server/postgres/postmaster.ts";
import {
  cleanUp,
  killHard,
  killHolder,
  makeScratch,
  makeSeeded,
  query,
  removeSeed,
  spawnHolder,
  startHolder,
  until,
} from "./scratch.ts";

afterEach(cleanUp);
afterAll(removeSeed);

async function codeOfStart(dataDir: string): Promise<string | undefined> {
  try {
    await (await startEmbeddedPostgres({ dataDir })).stop();
    return undefined;
  } catch (error) {
    return codeOf(error);
  }
}

describe("an ordinary start", () => {
  test("data and port outlive a restart, and nothing runs in between", async () => {
    const dataDir = await makeScratch();
    const first = await startEmbeddedPostgres({ dataDir });
    await query(first.url, "create table kept as select 7 as n");
    await first.stop();
    await first.stop();
    expect(await isAlive(first.pid)).toBe(false);

    const second = await startEmbeddedPostgres({ dataDir });
    expect(second).toMatchObject({ url: first.url, dataDir, adopted: false });
    expect(await query(second.url, "select n from kept")).toEqual([{ n: 7 }]);
    await second.stop();
  });

  test("is durable, reachable from this machine only, and gives the server no more rights than it needs", async () => {
    const postgres = await startEmbeddedPostgres({ dataDir: await makeScratch() });
    const [row] = await query(
      postgres.url,
      `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit,
              current_setting('full_page_writes') as full_page_writes, current_setting('data_checksums') as checksums,
              current_setting('listen_addresses') as listen, current_setting('server_encoding') as encoding,
              rolsuper as super, rolcreatedb as createdb from pg_roles where rolname = current_user`,
    );
    expect(row).toEqual({
      fsync: "on",
      synchronous_commit: "on",
      full_page_writes: "on",
      checksums: "on",
      listen: "127.0.0.1",
      encoding: "UTF8",
      super: false,
      createdb: true,
    });
    expect((await stat(join(postgres.dataDir, "postgres", "password"))).mode & 0o077).toBe(0);
    const wrong = new URL(postgres.url);
    wrong.password = "wrong";
    await expect(query(wrong.href, "select 1")).rejects.toMatchObject({ code: "28P01" });
    await postgres.stop();
  });
});

describe("after a kill", () => {
  test("a PostgreSQL whose server was killed is used again, with its data", async () => {
    const dataDir = await makeSeeded();
    const killed = await startHolder(dataDir);
    await query(killed.url, "create table kept as select 7 as n");
    await killHolder(killed, "SIGKILL");
    expect(await isAlive(killed.pid)).toBe(true);

    const next = await startEmbeddedPostgres({ dataDir });
    expect(next).toMatchObject({ pid: killed.pid, url: killed.url, adopted: true });
    expect(await query(next.url, "select n from kept")).toEqual([{ n: 7 }]);
    await next.stop();
    expect(await isAlive(killed.pid)).toBe(false);
  });

  test("server and PostgreSQL killed together lose nothing that was committed", async () => {
    const dataDir = await makeSeeded();
    const killed = await startHolder(dataDir);
    await query(killed.url, "create table kept as select 7 as n");
    await killHolder(killed, "SIGKILL");
    await killHard(killed.pid);

    const next = await startEmbeddedPostgres({ dataDir });
    expect(next.adopted).toBe(false);
    expect(await query(next.url, "select n from kept")).toEqual([{ n: 7 }]);
    await next.stop();
  });

  test("a left-over pid file that names a living stranger blocks nothing and harms nobody", async () => {
    const dataDir = await makeSeeded();
    const killed = await startHolder(dataDir);
    await query(killed.url, "create table kept as select 7 as n");
    await killHolder(killed, "SIGKILL");
    await killHard(killed.pid);
    // Of the user who runs PostgreSQL: only such a pid makes PostgreSQL itself refuse to start.
    const user = runsAsRoot() ? await unprivilegedUser() : undefined;
    const stranger = spawn("sleep", ["60"], {
      cwd: "/",
      stdio: "ignore",
      ...(user && { uid: user.uid, gid: user.gid }),
    });
    await once(stranger, "spawn");
    try {
      const file = join(dataDir, "postgres", "data", "postmaster.pid");
      await writeFile(file, (await readFile(file, "utf8")).replace(/^\d+/, String(stranger.pid)));
      const next = await startEmbeddedPostgres({ dataDir });
      expect(next.adopted).toBe(false);
      expect(await query(next.url, "select n from kept")).toEqual([{ n: 7 }]);
      await next.stop();
      expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
    } finally {
      stranger.kill("SIGKILL");
    }
  });

  test("a PostgreSQL that does not react is stopped all the same, within a bounded time", async () => {
    const dataDir = await makeSeeded();
    const killed = await startHolder(dataDir);
    await killHolder(killed, "SIGKILL");
    process.kill(killed.pid, "SIGSTOP");
    const binaries = await locateBinaries(undefined, join(dataDir, "runtime"));
    const gone = await stopPostmaster(join(dataDir, "postgres", "data"), { pid: killed.pid }, binaries, [
      ["SIGINT", 200],
      ["SIGQUIT", 200],
      ["SIGKILL", 5_000],
    ]);
    expect(gone).toBe(true);
    expect(await codeOfStart(dataDir)).toBeUndefined();
  });

  test("the kill of a first start in the middle blocks nothing and leaves nothing", async () => {
    const dataDir = await makeScratch();
    const child = spawnHolder(dataDir);
    await until(
      async () => (await readdir(dataDir)).some((name) => name.startsWith("postgres.new-")),
      "initdb runs",
    );
    await killHolder({ child }, "SIGKILL");
    expect(await readdir(dataDir)).not.toContain("postgres");

    const next = await startEmbeddedPostgres({ dataDir });
    expect(await query(next.url, "select 1 as n")).toEqual([{ n: 1 }]);
    await next.stop();
    expect((await readdir(dataDir)).filter((name) => name.startsWith("postgres.new-"))).toEqual([]);
  });

  test("a PostgreSQL that dies under a living server is brought back at the same address", async () => {
    const postgres = await startEmbeddedPostgres({ dataDir: await makeSeeded() });
    await query(postgres.url, "create table kept as select 7 as n");
    const { pid } = postgres;
    await killHard(pid);
    const answers = () =>
      query(postgres.url, "select n from kept").then(
        (rows) => rows.length === 1,
        () => false,
      );
    await until(answers, "PostgreSQL answers again");
    await until(async () => postgres.pid !== pid, "the new process is known");
    await postgres.stop();
    expect(await isAlive(postgres.pid)).toBe(false);
  });

  test("a stop while PostgreSQL is being brought back leaves nothing running", async () => {
    const dataDir = await makeSeeded();
    const postgres = await startEmbeddedPostgres({ dataDir });
    await killHard(postgres.pid);
    await postgres.stop();
    expect(await isAlive(postgres.pid)).toBe(false);
    const next = await startEmbeddedPostgres({ dataDir });
    expect(next.adopted).toBe(false);
    await next.stop();
  });
});

describe("two servers", () => {
  test("the second on a directory is refused and told which process holds it", async () => {
    const dataDir = await makeSeeded();
    const first = await startHolder(dataDir);
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toMatchObject({
      code: "data_directory_in_use",
      message: expect.stringContaining(`process ${first.child.pid} `),
    });
    expect(await query(first.url, "select 1 as n")).toEqual([{ n: 1 }]);
    await killHolder(first, "SIGTERM");
    expect(await isAlive(first.pid)).toBe(false);
    expect(await codeOfStart(dataDir)).toBeUndefined();
  });

  test("of two that make the first start at the same moment one wins", async () => {
    const dataDir = await makeScratch();
    const holders = await Promise.all([startHolder(dataDir), startHolder(dataDir)]);
    expect(holders.map((holder) => holder.code ?? "won").sort()).toEqual(["data_directory_in_use", "won"]);
    const winner = holders.find((holder) => holder.code === undefined);
    expect(await query(winner?.url ?? "", "select 1 as n")).toEqual([{ n: 1 }]);
  });

  test("one that starts while the other stops waits for it", async () => {
    const dataDir = await makeSeeded();
    const first = await startHolder(dataDir);
    const ended = killHolder(first, "SIGTERM");
    const next = await startEmbeddedPostgres({ dataDir });
    await ended;
    expect(await query(next.url, "select 1 as n")).toEqual([{ n: 1 }]);
    await next.stop();
  });
});

describe("a directory that cannot be used is explained and left alone", () => {
  test("written by another major version", async () => {
    const dataDir = await makeSeeded();
    await (await startEmbeddedPostgres({ dataDir })).stop();
    const file = join(dataDir, "postgres", "data", "PG_VERSION");
    await writeFile(file, "17\n");
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toMatchObject({
      code: "data_directory_version",
      message: expect.stringContaining("written by PostgreSQL 17"),
    });
    expect(await readFile(file, "utf8")).toBe("17\n");
  });

  test("itself a PostgreSQL data directory, or with something else under our name", async () => {
    const raw = await makeScratch();
    await writeFile(join(raw, "PG_VERSION"), "18\n");
    expect(await codeOfStart(raw)).toBe("data_directory_unusable");
    const other = await makeScratch();
    await mkdir(join(other, "postgres"));
    expect(await codeOfStart(other)).toBe("data_directory_unusable");
    expect(await readdir(join(other, "postgres"))).toEqual([]);
  });

  test("a file", async () => {
    const file = join(await makeScratch(), "file");
    await writeFile(file, "");
    expect(await codeOfStart(file)).toBe("data_directory_unusable");
  });
});

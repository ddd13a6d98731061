// A database that cannot be used as it is named: the server ends with one sentence that says what to do, and no password in it.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DatabaseUnusableError } from "../../server/store/first-contact.ts";
import { migrate } from "../../server/store/migrate.ts";
import { asAdmin, createTestDatabase, type TestDatabase, urlOf } from "../support/postgres.ts";
import { SERVER } from "../support/programs.ts";

const SECRET = "not-the-password";

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

/** What a server that cannot start says, and how it ends. */
async function start(databaseUrl: string): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [SERVER], {
    env: { PATH: process.env.PATH ?? "", PORT: "0", DATABASE_URL: databaseUrl, PERDURE_LOG_FORMAT: "json" },
  });
  let said = "";
  for (const pipe of [child.stdout, child.stderr])
    pipe.on("data", (piece: Buffer) => {
      said += piece.toString("utf8");
    });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, said };
}

function altered(change: (url: URL) => void): string {
  const url = new URL(database.url);
  change(url);
  return url.href;
}

/** A port on which nothing listens any more. */
async function freePort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return String(port);
}

test("a database that is not there is named, with the command that makes it", async () => {
  const { code, said } = await start(urlOf(database.url, "perdure_not_there"));
  expect(code).toBe(1);
  expect(said).toMatch(/^perdure: there is no database "perdure_not_there" on [^\n]*createdb[^\n]*\n$/);
});

test("a host that refuses is named", async () => {
  const port = await freePort();
  const url = altered((one) => {
    one.hostname = "127.0.0.1";
    one.port = port;
    one.password = SECRET;
  });
  const { code, said } = await start(url);
  expect(code).toBe(1);
  expect(said).toMatch(
    /^perdure: 127\.0\.0\.1:\d+ refuses connections: is PostgreSQL running there\?[^\n]*\n$/,
  );
  expect(said).not.toContain(SECRET);
});

test("a password that is not accepted, or a role that is not there, is told without the password", async () => {
  const nobody = altered((one) => {
    one.username = "perdure_nobody";
    one.password = SECRET;
  });
  const { code, said } = await start(nobody);
  expect(code).toBe(1);
  expect(said).toMatch(/^perdure: PostgreSQL on [^\n]*the user "perdure_nobody"[^\n]*DATABASE_URL\n$/);
  expect(said).not.toContain(SECRET);
});

test("a role that may not make tables is told to become the owner", async () => {
  await asAdmin(database.url, async (admin) => {
    await admin.query(
      "drop schema public cascade; create schema public; revoke all on schema public from current_user",
    );
  });
  const { rows } = await asAdmin(database.url, (admin) =>
    admin.query("select usesuper from pg_user where usename = current_user"),
  );
  // Nothing is refused to a superuser.
  const guest = altered((one) => {
    if (rows[0].usesuper) one.searchParams.set("options", "-c role=pg_monitor");
  });
  await expect(migrate(guest)).rejects.toThrow(DatabaseUnusableError);
  await expect(migrate(guest)).rejects.toThrow(/owner/);
});

test("a database that takes no writes is told apart from one that is away", async () => {
  const readOnly = altered((one) => one.searchParams.set("options", "-c default_transaction_read_only=on"));
  await asAdmin(database.url, (admin) => admin.query("drop table perdure_migrations"));
  await expect(migrate(readOnly)).rejects.toThrow(/takes no writes.*name the primary/);
});

test("a host that is not known, and one that speaks something else, are told in words", async () => {
  await expect(
    migrate(
      altered((one) => {
        one.hostname = "no-such-host.invalid";
      }),
    ),
  ).rejects.toThrow(/no-such-host\.invalid/);
  const closing = createServer((socket) => socket.resume().end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await new Promise<void>((resolve) => closing.listen(0, "127.0.0.1", resolve));
  const { port } = closing.address() as { port: number };
  const elsewhere = altered((one) => {
    one.hostname = "127.0.0.1";
    one.port = String(port);
  });
  await expect(migrate(elsewhere)).rejects.toThrow(/cannot be opened: .+Correct DATABASE_URL/);
  await new Promise((resolve) => closing.close(resolve));
});

// Owns `perdure migrate`: bringing the database of DATABASE_URL to this version's schema without starting a server.
import type { Command } from "commander";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT, UsageError } from "../exit-codes.ts";

export function migrateCommand(cli: Cli): Command {
  const command = newCommand(
    "migrate",
    "migrate the database of DATABASE_URL",
    "DATABASE_URL=postgres://db.example.com/perdure perdure migrate",
  );
  return runs(cli, command, async () => {
    const { loadConfig } = await import("../../config.ts");
    const { databaseUrl } = loadConfig(cli.io.env);
    if (databaseUrl === undefined) {
      throw new UsageError(
        "DATABASE_URL is not set. The server's own PostgreSQL needs no migrate: perdure serve does it at every start",
      );
    }
    const { migrate } = await import("../../store/migrate.ts");
    const applied = await migrate(databaseUrl);
    if (cli.json) cli.printJson({ ok: true, applied });
    else
      cli.io.out(
        applied.length === 0
          ? "the schema is up to date"
          : applied.map((name) => `applied ${name}`).join("\n"),
      );
    return EXIT.ok;
  });
}

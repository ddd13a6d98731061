// Owns `perdure verify`: whether what a database holds is what may be there. Reads beside a working server.
import type { Command } from "commander";
import { type Cli, newCommand, runs } from "../context.ts";
import { CliError, EXIT } from "../exit-codes.ts";

const SHOWN = 50;

export function verifyCommand(cli: Cli): Command {
  const command = newCommand(
    "verify",
    "check the database for violated invariants",
    "DATABASE_URL=postgres://db.example.com/perdure perdure verify",
  );
  return runs(cli, command, async () => {
    const { openDatabaseToRead } = await import("../../main.ts");
    const { verifyDatabase } = await import("../../verify/verify.ts");
    const database = await openDatabaseToRead(cli.io.env).catch(unread);
    try {
      const { checked, violations, count } = await verifyDatabase(database.url, {
        onProgress: (done, total) => cli.progress("checked", done, total),
      }).catch(unread);
      if (cli.json) cli.printJson({ ok: count === 0, checked, count, violations: violations.map(toWire) });
      else {
        for (const { invariant, intentId, message } of violations.slice(0, SHOWN))
          cli.io.out(`${invariant}  ${intentId ?? "-"}  ${message}`);
        if (count > SHOWN)
          cli.io.out(`and ${count - SHOWN} more: --json shows the first ${violations.length}`);
        cli.io.out(`checked ${checked} intents: ${count === 0 ? "no violation" : `${count} violations`}`);
      }
      return count === 0 ? EXIT.ok : EXIT.failed;
    } finally {
      await database.stop();
    }
  });
}

/** PostgreSQL's code for a table that is not there. */
const UNDEFINED_TABLE = "42P01";

/** Exit code 1 says that something is broken; a database that could not be read says nothing about what it holds. */
function unread(error: unknown): never {
  if (!(error instanceof Error) || error.name === "ConfigError") throw error;
  if ((error as { code?: unknown }).code === UNDEFINED_TABLE)
    throw new CliError("this is not a database of Perdure, or one not migrated yet", EXIT.usage, "no_schema");
  // Refused on every address of a name, an error has no words of its own.
  const { message, errors = [] } = error as Error & { errors?: readonly Error[] };
  throw new CliError(
    `cannot read the database: ${message || errors.map((one) => one.message).join("; ")}`,
    EXIT.unreachable,
    "database_unreachable",
  );
}

const toWire = ({
  invariant,
  intentId,
  message,
}: {
  invariant: string;
  intentId: string | null;
  message: string;
}) => ({
  invariant,
  intent_id: intentId,
  message,
});

// Owns one run of the CLI: arguments in, exit code out; every error becomes a message here. Must not touch the process.
import { CommanderError } from "commander";
import { VERSION } from "../version.ts";
import { separateWait } from "./commands/send.ts";
import type { Connection } from "./connection.ts";
import { Cli } from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { describeFailure } from "./failure.ts";
import { type Io, paint } from "./io.ts";
import { buildProgram } from "./program.ts";

/** Never rejects: every failure is an exit code. */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  if (argv[0] === "--version" || argv[0] === "-V") {
    io.out(VERSION);
    return EXIT.ok;
  }
  const cli = new Cli(io);
  const program = buildProgram(cli);
  if (argv.length === 0) {
    io.err(program.helpInformation().trimEnd());
    return EXIT.usage;
  }
  try {
    await program.parseAsync(separateWait(argv), { from: "user" });
    return cli.exit;
  } catch (error) {
    // Commander has printed its own message already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return report(cli, error);
  }
}

/** None where it was the connection that is wrong: the error says that itself. */
function connectionIn(cli: Cli): Connection {
  try {
    return cli.connection;
  } catch {
    return { url: "", urlFrom: "", remarks: [] };
  }
}

function report(cli: Cli, error: unknown): number {
  const { exit, message, ...more } = describeFailure(error, connectionIn(cli));
  if (cli.json) {
    cli.io.err(JSON.stringify({ ok: false, message, ...more }));
    return exit;
  }
  const label =
    exit === EXIT.detached || exit === EXIT.waitTimeout
      ? ""
      : `${paint(cli.io.colour.err, "red", "error:")} `;
  cli.io.err(`${label}${message}`);
  return exit;
}

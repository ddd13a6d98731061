// Owns `perdure serve`: the server in this process. Everything about it is in server/main.ts, loaded only here.
import type { Command } from "commander";
import { type Cli, newCommand, runs } from "../context.ts";
import { CliError, EXIT } from "../exit-codes.ts";

export function serveCommand(cli: Cli): Command {
  const command = newCommand(
    "serve",
    "start the server; with its own PostgreSQL unless DATABASE_URL is set",
    "perdure serve --port 7070",
  )
    .option("--port <n>", "port to listen on (PORT)")
    .option("--host <host>", "address to listen on (HOST)");
  return runs(cli, command, async (_args: [], options: { port?: string; host?: string }) => {
    const { explainStartFailure, runServer } = await import("../../main.ts");
    const env = {
      ...cli.io.env,
      ...(options.port === undefined ? {} : { PORT: options.port }),
      ...(options.host === undefined ? {} : { HOST: options.host }),
    };
    try {
      await runServer(env);
    } catch (error) {
      const explained = explainStartFailure(error, env);
      if (explained === null || (error as Error).name === "ConfigError") throw error;
      throw new CliError(explained, EXIT.failed, "start_failed");
    }
    return EXIT.ok;
  });
}

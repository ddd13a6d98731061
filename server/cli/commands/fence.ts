// Owns `perdure fence`: what is to be done once after a backup was restored, or a standby took over that may lack commits.
import type { Command } from "commander";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT } from "../exit-codes.ts";

export function fenceCommand(cli: Cli): Command {
  const command = newCommand(
    "fence",
    "end all attempts, after a restore or a failover that lost commits",
    "DATABASE_URL=postgres://db.example.com/perdure perdure fence",
  );
  return runs(cli, command, async () => {
    const { fenceDatabase } = await import("../../main.ts");
    const count = await fenceDatabase(cli.io.env);
    if (cli.json) cli.printJson({ ok: true, fenced: count });
    else
      cli.io.out(`fenced ${count} intents: whoever is at work on one is refused, and it is handed out again`);
    return EXIT.ok;
  });
}

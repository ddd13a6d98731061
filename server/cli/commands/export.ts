// Owns `perdure export`: everything that is kept of an intent, as JSON lines, of any size.
import type { Command } from "commander";
import { intentPath } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { resolveId } from "../intent-ids.ts";

export function exportCommand(cli: Cli): Command {
  const command = newCommand(
    "export <id>",
    "print all that is kept of an intent, as JSON lines",
    "perdure export 4f1c2ab9 > intent.ndjson",
  );
  return runs(cli, command, async ([given]: [string]) => {
    const id = await resolveId(cli.api, given);
    await cli.api.stream(intentPath(id, "export"), (piece) => cli.io.outBytes(piece));
    return EXIT.ok;
  });
}

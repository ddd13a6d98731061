// Owns `perdure explain`: why an intent is where it is, and what happens next.
import type { Command } from "commander";
import { intentPath, type Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { resolveId } from "../intent-ids.ts";
import { type Column, formatTable } from "../table.ts";

const COLUMNS: readonly Column<Json>[] = [
  { title: "ATTEMPT", text: (attempt) => String(attempt.attempt) },
  { title: "CONSUMER", text: (attempt) => attempt.consumer ?? "" },
  { title: "DELIVERED", text: (attempt) => attempt.delivered_at ?? "" },
  { title: "ENDED", text: (attempt) => attempt.ended_at ?? "" },
  { title: "HOW", text: (attempt) => attempt.end ?? "" },
];

export function explainCommand(cli: Cli): Command {
  return runs(
    cli,
    newCommand("explain <id>", "tell why an intent is where it is", "perdure explain 4f1c2ab9"),
    async ([given]: [string]) => {
      const answer = await cli.api.get(intentPath(await resolveId(cli.api, given), "explain"));
      if (cli.json) {
        cli.printJson(answer);
        return EXIT.ok;
      }
      cli.io.out(answer.summary);
      if (answer.attempts?.length > 0)
        cli.io.out(`\n${formatTable(COLUMNS, answer.attempts, cli.io.colour.out)}`);
      const { what, at } = answer.next ?? {};
      if (what !== undefined) cli.io.out(`\nnext: ${what}${at ? ` at ${at}` : ""}`);
      return EXIT.ok;
    },
  );
}

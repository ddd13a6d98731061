// Owns `perdure audit`: what operators and administrators did.
import type { Command } from "commander";
import type { Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { type LimitOptions, printListing, withLimit } from "../listing.ts";
import type { Column } from "../table.ts";

const COLUMNS: readonly Column<Json>[] = [
  { title: "AT", text: (entry) => entry.at },
  { title: "ACTOR", text: (entry) => entry.actor },
  { title: "ACTION", text: (entry) => entry.action },
  { title: "TARGET", text: (entry) => entry.target ?? "" },
  { title: "FROM", text: (entry) => entry.source },
];

export function auditCommand(cli: Cli): Command {
  const command = withLimit(
    newCommand(
      "audit",
      "what operators and administrators did, the newest first",
      "perdure audit --limit 20",
    ),
  );
  return runs(cli, command, (_args: [], options: LimitOptions) =>
    printListing(cli, { path: "/v1/audit", field: "entries" }, options, COLUMNS, "nothing yet"),
  );
}
